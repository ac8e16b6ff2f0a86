import assert from "node:assert/strict";
import { test } from "node:test";
import { KeptBytes } from "../../../src/base/kept-bytes.ts";

test("short copies lie side by side, long ones alone, and each keeps what it was", () => {
  const kept = new KeptBytes();
  const lengths = Array.from({ length: 600 }, (_, i) => (i % 100 === 99 ? 5_000 : i % 60));
  const copies = lengths.map((length, i) => {
    const bytes = Buffer.alloc(length, i % 256);
    const copy = kept.copy(bytes);
    // What is needed for a moment lies between them in Node's pool.
    Buffer.allocUnsafe(500);
    bytes.fill(255);
    return copy;
  });
  for (const [i, copy] of copies.entries()) {
    assert.deepEqual(copy, Buffer.alloc(lengths[i] ?? 0, i % 256));
  }
  const blocks = new Set(copies.map(({ buffer }) => buffer));
  const bytes = [...blocks].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const wanted = lengths.reduce((sum, length) => sum + length, 0);
  assert.ok(bytes < wanted * 1.1 + 16_384, `${bytes} bytes are kept for ${wanted}`);
});
