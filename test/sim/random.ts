/**
 * Chance in independent streams, one per concern: taking one fault out of a run leaves the draws of
 * all others as they were.
 */
import type { Random } from "../../src/base/effects.ts";
import { createSeededRandom } from "./seeded-random.ts";

export class Stream {
  readonly source: Random;

  /** @param seed - of the run, u32 */
  constructor(seed: number, concern: string) {
    this.source = createSeededRandom(mix(seed, concern));
  }

  /** Uniform in 0 ≤ x < 1. */
  unit(): number {
    return this.source.unit();
  }

  /** Integer in from..to, both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.unit() * list.length)] as T;
  }

  /** Exponentially distributed around the mean, at most ten times it. */
  around(mean: number): number {
    return Math.min(10 * mean, -Math.log(1 - this.unit()) * mean);
  }
}

/** FNV-1a over the name, from the seed on. */
function mix(seed: number, concern: string): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < concern.length; i++) {
    hash = Math.imul(hash ^ concern.charCodeAt(i), 0x01000193) >>> 0;
  }
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
}
