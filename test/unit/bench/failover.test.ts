import assert from "node:assert/strict";
import { test } from "node:test";
import { longestGap, modeNames } from "../../../bench/failover/modes.ts";
import { parseFailoverOptions } from "../../../bench/failover/options.ts";

test("without arguments the leader suffers everything twenty times, under load", () => {
  const { modes, trials, shards, hasLoad, name } = parseFailoverOptions([]);
  assert.deepEqual(modes, modeNames);
  assert.deepEqual([trials, shards, hasLoad, name], [20, 1, true, "failover"]);
});

for (const args of [
  ["--mode", "murder"],
  ["--trials", "0"],
  ["--trials", "1.5"],
  ["--shards", "257"],
  ["--name", "../x"],
  ["--unknown"],
]) {
  test(`bench:failover refuses ${args.join(" ")}`, () => {
    assert.throws(() => parseFailoverOptions(args));
  });
}

test("the longest gap is between two acks in a row", () => {
  assert.equal(longestGap([1, 2, 9, 10]), 7);
  assert.equal(longestGap([5]), 0);
  assert.equal(longestGap([]), 0);
});
