import assert from "node:assert/strict";
import { test } from "node:test";
import { parseOptions, scenarioNames } from "../../../bench/options.ts";

test("without arguments the canonical workload runs at full length", () => {
  const { scenarios, isQuick, payloads, durability, name } = parseOptions([]);
  assert.deepEqual(scenarios, ["cycle", "single"]);
  assert.deepEqual(payloads, [14, 1024, 16384]);
  assert.deepEqual([isQuick, durability, name], [false, "always", "cycle-single"]);
});

test("all is every scenario", () => {
  assert.deepEqual(parseOptions(["--scenario", "all"]).scenarios, scenarioNames);
});

test("results of short runs say so in their name", () => {
  assert.equal(parseOptions(["--quick", "--name", "x"]).name, "x-quick");
});

for (const args of [
  ["--scenario", "cycles"],
  ["--payload", "13"],
  ["--payload", "14,big"],
  ["--durability", "never"],
  ["--name", "../x"],
  ["--unknown"],
]) {
  test(`refuses ${args.join(" ")}`, () => {
    assert.throws(() => parseOptions(args));
  });
}
