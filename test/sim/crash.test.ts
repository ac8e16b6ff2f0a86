/**
 * One node, ended, paused and cheated by its disk and its clock at any moment, against the naive
 * model. A failing seed prints its number and the command that repeats it.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { regressions } from "./regressions.ts";
import { runSeed, runSeeds } from "./seeds.ts";

/** The same seeds in every run: a change that breaks one is told from the change that did it. */
const firstSeed = 1;
const seeds = Number(process.env["SIM_SEEDS"] ?? 1_000);

describe("a node that crashes", () => {
  test("a seed gives the same run every time", async () => {
    for (const seed of [7, 77]) {
      const first = await runSeed(seed, null);
      const again = await runSeed(seed, null);
      assert.equal(first.kind, "passed", first.kind === "failed" ? first.text : "");
      assert.deepEqual(again, first);
    }
  });

  test("what failed once does not fail again", async () => {
    for (const { seed, found } of regressions()) {
      const outcome = await runSeed(seed, null);
      assert.equal(
        outcome.kind,
        "passed",
        outcome.kind === "failed" ? `${found}\n${outcome.text}` : "",
      );
    }
  });

  test(`${seeds} seeds: nothing acknowledged is lost, nothing untrue is told`, async () => {
    const totals = await runSeeds({ first: firstSeed, count: seeds });
    assert.deepEqual(
      totals.failures.map(({ text }) => text),
      [],
    );
    // A run that hits nothing proves nothing.
    assert.ok(totals.answers > 100 * seeds, `${totals.answers} answers`);
    assert.ok(totals.faults > 5 * seeds, `${totals.faults} faults`);
    assert.ok(totals.starts > 3 * seeds, `${totals.starts} starts`);
  });
});
