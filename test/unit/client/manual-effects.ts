/** A clock that stands still until it is moved, and timers that follow it. */
import type { TimerHandle } from "../../../src/base/effects.ts";
import type { ClientEffects } from "../../../src/client/index.ts";

interface Alarm extends TimerHandle {
  readonly dueMs: number;
  readonly callback: () => void;
}

export class ManualEffects implements ClientEffects {
  nowMs = 1_000_000;
  private alarms: Alarm[] = [];
  readonly clock = {
    monotonicMs: () => this.nowMs,
    wallMs: () => 1_790_000_000_000 + this.nowMs,
  };
  readonly timers = {
    after: (delayMs: number, callback: () => void): TimerHandle => {
      const alarm: Alarm = {
        dueMs: this.nowMs + delayMs,
        callback,
        cancel: () => {
          this.alarms = this.alarms.filter((other) => other !== alarm);
        },
      };
      this.alarms.push(alarm);
      return alarm;
    },
    soon: (callback: () => void): void => {
      setImmediate(callback);
    },
  };
  readonly random = {
    fill: (bytes: Uint8Array): void => {
      bytes.fill(7);
    },
    unit: () => 0,
  };

  /** Timers that wait. */
  get pending(): number {
    return this.alarms.length;
  }

  /** Moves the clock, stopping at every timer on the way. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const [next] = this.alarms.filter((alarm) => alarm.dueMs <= end).sort(byTime);
      if (next === undefined) break;
      next.cancel();
      this.nowMs = Math.max(this.nowMs, next.dueMs);
      next.callback();
    }
    this.nowMs = end;
  }
}

function byTime(a: Alarm, b: Alarm): number {
  return a.dueMs - b.dueMs;
}
