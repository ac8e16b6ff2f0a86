import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HeldLeases } from "../../../src/edge/grpc/held-leases.ts";

/** Ids of few hashes (bytes 8..13 are not looked at), so that they lie in long clusters. */
const id = fc
  .tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 12 }))
  .map(([hashed, rest]) => {
    const bytes = new Uint8Array(16);
    bytes[15] = hashed;
    bytes[9] = rest;
    return bytes;
  });
const step = fc.record({ id, kind: fc.constantFrom("set", "delete"), token: fc.nat({ max: 99 }) });

test("holds what a Map would hold, through growth and deletes", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 100, maxLength: 400 }), (steps) => {
      const leases = new HeldLeases();
      const model = new Map<string, number>();
      for (const one of steps) {
        const key = Buffer.from(one.id).toString("hex");
        if (one.kind === "set") {
          leases.set(one.id, 0, { token: one.token + 1, untilMs: 1e12, nowMs: 0 });
          model.set(key, one.token + 1);
        } else {
          leases.delete(one.id, 0);
          model.delete(key);
        }
        assert.equal(leases.size, model.size);
        assert.equal(leases.token(one.id, 0), model.get(key) ?? 0);
      }
      const found = new Map<string, number>();
      leases.forEach((ids, at, token) => {
        found.set(ids.toString("hex", at, at + 16), token);
      });
      assert.deepEqual([...found].sort(), [...model].sort());
    }),
  );
});

test("forgets leases long over when it needs room, and keeps extended ones", () => {
  const leases = new HeldLeases();
  const bytes = new Uint8Array(16);
  const place = (i: number): Uint8Array => {
    bytes[14] = i >> 8;
    bytes[15] = i & 255;
    return bytes;
  };
  for (let i = 0; i < 10_000; i++) {
    leases.set(place(i), 0, { token: 1, untilMs: 1_000, nowMs: i * 1_000 });
    if (i === 0) leases.extend(place(0), 0, 1e12);
  }
  assert.ok(leases.size < 300, `${leases.size} are held`);
  assert.equal(leases.token(place(0), 0), 1);
});
