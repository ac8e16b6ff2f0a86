import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Changes } from "../../../src/queue/changes.ts";
import { readyPrefix, u64Text } from "../../../src/queue/keys.ts";

const key = fc.oneof(
  fc.tuple(fc.nat(3), fc.nat(2), fc.nat(20)).map(([queue, priority, seq]) => {
    return readyPrefix(queue, priority) + u64Text(seq);
  }),
  fc.constantFrom("Rabc", "Pabc", "Dabc", "Rxyz"),
);
const step = fc.record({ kind: fc.constantFrom("set", "set", "delete"), key, value: fc.nat() });

test("it is a map, and ranges give what lies in them", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), key, key, (all, gte, lt) => {
      const changes = new Changes<number>();
      const model = new Map<string, number>();
      for (const one of all) {
        if (one.kind === "set") {
          changes.set(one.key, one.value);
          model.set(one.key, one.value);
        } else {
          changes.delete(one.key);
          model.delete(one.key);
        }
        assert.equal(changes.size, model.size);
        assert.equal(changes.get(one.key), model.get(one.key));
        assert.equal(changes.has(one.key), model.has(one.key));
      }
      assert.deepEqual(new Map(changes), model);
      const list = readyPrefix(1, 1);
      for (const [from, to] of [
        [gte, lt],
        [list, `${list}\xff`],
        [list + u64Text(3), `${list + u64Text(9)}\0`],
      ] as const) {
        const found = new Map<string, number>();
        changes.forRange(from, to, (at, value) => found.set(at, value));
        const wanted = [...model].filter(([at]) => at >= from && at < to);
        assert.deepEqual(found, new Map(wanted));
      }
    }),
  );
});
