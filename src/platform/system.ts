/**
 * The real world behind base/effects.ts: clock, random numbers and timers of this process.
 */
import { randomFillSync } from "node:crypto";
import type { Clock, Random, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";

export function createClock(): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
  };
}

export function createRandom(): Random {
  return {
    fill(bytes) {
      randomFillSync(bytes);
    },
    unit: () => Math.random(),
  };
}

/**
 * Timers of the event loop. Node counts whole milliseconds and so calls up to one too early; here
 * a timer that comes early is set again for the rest.
 */
export function createTimers(): Timers {
  return {
    after: (delayMs, callback) => new SystemTimer(delayMs, callback),
    soon(callback) {
      setImmediate(callback);
    },
  };
}

class SystemTimer implements TimerHandle {
  private readonly dueMs: number;
  private readonly callback: () => void;
  private timeout: NodeJS.Timeout;

  constructor(delayMs: number, callback: () => void) {
    const delay = Math.min(Math.max(delayMs, 0), limits.timerMsMax);
    this.dueMs = performance.now() + delay;
    this.callback = callback;
    this.timeout = setTimeout(fire, Math.ceil(delay), this);
  }

  cancel(): void {
    clearTimeout(this.timeout);
  }

  fire(): void {
    const left = this.dueMs - performance.now();
    if (left > 0) this.timeout = setTimeout(fire, Math.ceil(left), this);
    else this.callback();
  }
}

function fire(timer: SystemTimer): void {
  timer.fire();
}
