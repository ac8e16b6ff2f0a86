/**
 * Delay before the next attempt. Jitter comes from a hash of the task and its attempt, so that it
 * is the same on every replica and differs from task to task.
 */
import { unreachable } from "../base/assert.ts";
import { type Fnv64, fnvByte, fnvStart } from "../base/fnv1a64.ts";
import type { Settings } from "./command.ts";

const hash: Fnv64 = { hi: 0, lo: 0 };

/** Uniform in 0 ≤ x < 2^32, from run key, place and attempt. */
function jitter(runKey: string, place: number, attempts: number): number {
  fnvStart(hash);
  for (let i = 0; i < runKey.length; i++) fnvByte(hash, runKey.charCodeAt(i));
  fnvByte(hash, place);
  fnvByte(hash, attempts & 255);
  fnvByte(hash, attempts >> 8);
  // FNV mixes its high half well and its low bits badly for short tails: fold and scramble.
  let x = (hash.hi ^ hash.lo) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Random integer in 0..max, both included. */
function upTo(max: number, random: number): number {
  return Math.floor((random / 0x1_0000_0000) * (max + 1));
}

/**
 * @param attempts - n, claims so far, 1 or more
 * @returns integer ms, 0..backoffMaxMs
 */
export function backoffMs(
  settings: Settings,
  runKey: string,
  place: number,
  attempts: number,
): number {
  const { backoffBaseMs: base, backoffMaxMs: cap } = settings;
  const exponential = Math.min(base * 2 ** Math.min(attempts - 1, 50), cap);
  switch (settings.backoffPolicy) {
    case "exp_full_jitter":
      return upTo(exponential, jitter(runKey, place, attempts));
    case "exp_equal_jitter": {
      const half = Math.floor(exponential / 2);
      return half + upTo(exponential - half, jitter(runKey, place, attempts));
    }
    case "exponential":
      return exponential;
    case "linear":
      return Math.min(base * attempts, cap);
    case "fixed":
      return Math.min(base, cap);
    default:
      return unreachable(settings.backoffPolicy);
  }
}

/**
 * Wait after an abandon: none for the first ten in a row, then 10 ms doubling up to 60 s.
 * @param abandons - in a row, this one included
 */
export function abandonBackoffMs(abandons: number): number {
  if (abandons <= 10) return 0;
  return Math.min(10 * 2 ** Math.min(abandons - 11, 20), 60_000);
}
