import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import {
  endOfPrefix,
  keyBytes,
  prefixes,
  readU32,
  readU48,
  readU64,
  readyPrefix,
  u32Text,
  u48Text,
  u64Text,
} from "../../../src/queue/keys.ts";

const widths = [
  ["u32", 2 ** 32 - 1, u32Text, readU32, 4],
  ["u48", 2 ** 48 - 1, u48Text, readU48, 6],
  ["u64", 2 ** 53 - 1, u64Text, readU64, 8],
] as const;

for (const [name, max, write, read, size] of widths) {
  it(`${name} comes back, in its length, and sorts as numbers do: as text and as bytes`, () => {
    const number = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max }), fc.constant(max));
    fc.assert(
      fc.property(number, number, (a, b) => {
        assert.equal(write(a).length, size);
        assert.equal(read(`x${write(a)}`, 1), a);
        const order = Math.sign(a - b);
        assert.equal(write(a) < write(b) ? -1 : write(a) > write(b) ? 1 : 0, order);
        assert.equal(Buffer.compare(keyBytes(write(a)), keyBytes(write(b))), order);
      }),
    );
  });
}

it("every prefix is one byte and no two are the same", () => {
  const all = Object.values(prefixes);
  assert.ok(all.every((prefix) => prefix.length === 1));
  assert.equal(new Set(all).size, all.length);
});

it("ready rows of a queue sort by priority, highest first", () => {
  for (let p = 1; p <= 9; p++) assert.ok(readyPrefix(5, p) < readyPrefix(5, p - 1));
  assert.ok(readyPrefix(5, 0) < readyPrefix(6, 9));
});

it("the end of a prefix is behind all of its keys and before every other", () => {
  const latin1 = fc.uint8Array({ minLength: 1, maxLength: 4 });
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
  fc.assert(
    fc.property(latin1, latin1, (a, b) => {
      const prefix = `R${text(a)}`;
      const other = `R${text(b)}`;
      const end = endOfPrefix(prefix);
      assert.ok(prefix + text(b) < end);
      if (other >= prefix && !other.startsWith(prefix)) assert.ok(other >= end);
    }),
  );
});
