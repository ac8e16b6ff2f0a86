/** Waits between tries: exponential, with jitter so that clients do not come back in step. */
import type { Random } from "../base/effects.ts";
import { limits } from "../base/limits.ts";

/**
 * @param round - rounds of tries that failed before, 0 or more
 * @returns ms: half to all of base · 2^round, at most `limits.clientBackoffMsMax`
 */
export function backoffMs(round: number, random: Random): number {
  const full = Math.min(
    limits.clientBackoffMs * 2 ** Math.min(round, 20),
    limits.clientBackoffMsMax,
  );
  return full * (0.5 + random.unit() / 2);
}
