import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HeldLeases } from "../../../src/edge/grpc/held-leases.ts";

/** Ids that mostly collide: few distinct values, in the bytes that runs differ in. */
const id = fc
  .tuple(fc.constantFrom(6, 7, 14, 15), fc.integer({ min: 0, max: 40 }))
  .map(([place, value]) => {
    const bytes = new Uint8Array(16);
    bytes[place] = value;
    return bytes;
  });
const step = fc.record({ id, kind: fc.constantFrom("set", "delete"), token: fc.nat({ max: 99 }) });

test("holds what a Map would hold, through growth and deletes", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
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
