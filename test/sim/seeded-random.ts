/** Seeded random numbers for tests: xoshiro128** (Blackman and Vigna), 32 bits a step. */
import type { Random } from "../../src/base/effects.ts";

export function createSeededRandom(seed: number): Random {
  const state = new Uint32Array(4);
  let mix = seed >>> 0;
  for (let i = 0; i < 4; i++) {
    // splitmix32 spreads small seeds over the state.
    mix = (mix + 0x9e3779b9) >>> 0;
    let word = Math.imul(mix ^ (mix >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    state[i] = word ^ (word >>> 15);
  }

  function next(): number {
    const [a, b, c, d] = state as unknown as readonly [number, number, number, number];
    const out = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    state[2] = c ^ a;
    state[3] = d ^ b;
    state[1] = b ^ (state[2] as number);
    state[0] = a ^ (state[3] as number);
    state[2] = (state[2] as number) ^ (b << 9);
    state[3] = rotate(state[3] as number, 11);
    return out;
  }

  return {
    unit: () => next() / 0x1_0000_0000,
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = next() & 255;
    },
  };
}

function rotate(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}
