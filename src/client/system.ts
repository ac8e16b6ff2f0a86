/**
 * The SDK's world: clock, timers and random numbers of the process it runs in. Tests pass their own
 * as `effects`.
 */
import { randomFillSync } from "node:crypto";
import type { Clock, Random, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";

export interface ClientEffects {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

/** The real ones. */
export function createClientEffects(): ClientEffects {
  return {
    clock: {
      // biome-ignore lint/style/noRestrictedGlobals: the SDK's own door to the clock
      monotonicMs: () => performance.now(),
      // biome-ignore lint/style/noRestrictedGlobals: the SDK's own door to the clock
      wallMs: () => Date.now(),
    },
    timers: {
      after(delayMs, callback) {
        const delay = Math.min(Math.max(Math.ceil(delayMs), 0), limits.timerMsMax);
        // biome-ignore lint/style/noRestrictedGlobals: the SDK's own door to timers
        const timeout = setTimeout(callback, delay);
        return { cancel: () => clearTimeout(timeout), unref: () => timeout.unref() };
      },
      soon(callback) {
        setImmediate(callback);
      },
    },
    random: {
      fill(bytes) {
        randomFillSync(bytes);
      },
      unit: () => Math.random(),
    },
  };
}
