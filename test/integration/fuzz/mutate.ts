/** Small damage to bytes, from a seed: the same seed gives the same damage. */
import type { Random } from "../../../src/base/effects.ts";
import { createSeededRandom } from "../../sim/seeded-random.ts";

export class Dice {
  private readonly random: Random;

  constructor(seed: number) {
    this.random = createSeededRandom(seed);
  }

  /** An integer 0 ≤ x < n. */
  below(n: number): number {
    return Math.floor(this.random.unit() * n);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

/** What tends to break readers of texts and numbers. */
const nasty: readonly Buffer[] = [
  ...["0", "-1", "1e400", "9007199254740993", "-0", "NaN", "4294967296", "1".repeat(400)],
  ...[
    '"',
    "\\",
    "{",
    "[",
    "]",
    "}",
    ",",
    ":",
    "null",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\0",
    "%00",
    "%2F",
  ],
  ...["__proto__", "constructor", "\u202e", "\ud83d\ude00", "../..", "?", "&cursor=", "chunked"],
  ...["Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", "Host: b\r\n", "Expect: x\r\n"],
].map((text) => Buffer.from(text));
const nastyBytes: readonly Buffer[] = [
  Buffer.from([0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.alloc(16),
];

/** One to four changes; @param corpus - to splice from */
export function mutate(dice: Dice, bytes: Buffer, corpus: readonly Buffer[]): Buffer {
  let result = bytes;
  for (let left = 1 + dice.below(4); left > 0; left--) result = change(dice, result, corpus);
  return result;
}

function change(dice: Dice, bytes: Buffer, corpus: readonly Buffer[]): Buffer {
  const at = dice.below(bytes.length + 1);
  const to = Math.min(bytes.length, at + 1 + dice.below(dice.below(4) === 0 ? 64 : 4));
  const head = bytes.subarray(0, at);
  switch (dice.below(8)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << dice.below(8));
      return flipped;
    }
    case 1:
      return Buffer.concat([head, dice.pick(nasty), bytes.subarray(at)]);
    case 2:
      return Buffer.concat([head, dice.pick(nasty), bytes.subarray(to)]);
    case 3:
      return Buffer.concat([head, bytes.subarray(to)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
    case 5:
      return Buffer.concat([head, dice.pick(nastyBytes), bytes.subarray(at)]);
    case 6: {
      const other = dice.pick(corpus);
      return Buffer.concat([head, other.subarray(dice.below(other.length + 1))]);
    }
    default:
      return dice.below(4) === 0 ? Buffer.from(head) : Buffer.concat([bytes, dice.pick(nasty)]);
  }
}
