/**
 * A lone node and clusters, ended, paused, cut off and cheated by their disks and clocks at any
 * moment. A failing seed prints its number and the command that repeats it. `npm run sim` plays more.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { play } from "./play.ts";
import { regressions } from "./regressions.ts";
import { playAll, range } from "./seeds.ts";

/** The same seeds in every run: a change that breaks one is told from the change that did it. */
const counts = { node: 100, cluster: 16 } as const;

// A long time is left to `npm run sim`.
for (const world of ["node", "cluster"] as const) {
  describe(`the simulated ${world}`, () => {
    test("plays the same history from the same seed", async () => {
      for (const seed of [7, 77]) {
        const first = await play({ world, seed }, null);
        const again = await play({ world, seed }, null);
        assert.equal(first.kind, "passed", first.kind === "failed" ? first.text : "");
        assert.deepEqual(again, first);
      }
    });

    test(`${counts[world]} seeds: nothing acknowledged is lost, nothing untrue is told`, async () => {
      const { failures, figures } = await playAll(range(world, 1, counts[world]));
      assert.deepEqual(failures, []);
      // Runs that hit nothing prove nothing.
      const { acknowledged, faults, crashes, partitions, snapshots, memberChanges } = figures;
      assert.ok(acknowledged > 100 * counts[world], `${acknowledged} answers`);
      assert.ok(faults > 5 * counts[world], `${faults} faults`);
      assert.ok(crashes > counts[world], `${crashes} crashes`);
      if (world === "node") return;
      assert.ok(partitions > counts[world], `${partitions} partitions`);
      assert.ok(snapshots > 0, `${snapshots} snapshots`);
      assert.ok(memberChanges > 0, `${memberChanges} changes of members`);
    });
  });
}

test("what failed once does not fail again", async () => {
  for (const { job, found } of regressions()) {
    const outcome = await play(job, null);
    assert.equal(
      outcome.kind,
      "passed",
      outcome.kind === "failed" ? `${found}\n${outcome.text}` : "",
    );
  }
});
