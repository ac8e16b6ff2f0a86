import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteBudget } from "../../../src/base/byte-budget.ts";

function holders(names: readonly string[]) {
  const gone: string[] = [];
  return { gone, all: names.map((name) => ({ giveUp: () => gone.push(name) })) };
}

test("whoever holds most gives up when it is too much", () => {
  const budget = new ByteBudget(100);
  const { gone, all } = holders(["a", "b", "c"]);
  const [a, b, c] = all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]];
  budget.hold(a, 30);
  budget.hold(b, 50);
  budget.hold(c, 20);
  assert.deepEqual([gone, budget.bytes], [[], 100]);
  budget.hold(c, 25);
  assert.deepEqual([gone, budget.bytes], [["b"], 55]);
  budget.hold(a, 10);
  budget.hold(c, 0);
  assert.deepEqual([gone, budget.bytes], [["b"], 10]);
});

test("it may be the one that has just grown, or several", () => {
  const budget = new ByteBudget(100);
  const { gone, all } = holders(["a", "b", "c"]);
  const [a, b, c] = all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]];
  budget.hold(a, 60);
  budget.hold(b, 10);
  budget.hold(c, 101);
  assert.deepEqual([gone, budget.bytes], [["c"], 70]);
  budget.hold(b, 120);
  assert.deepEqual([gone, budget.bytes], [["c", "b"], 60]);
});
