import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, it } from "node:test";
import { simulateCluster } from "./cluster-sim.ts";
import { runClusterSeeds } from "./seeds.ts";

/** Seeds that found bugs, with what they found. */
const regressions: readonly (readonly [number, string])[] = [
  [
    18,
    "a leader answered the read of a replica's earlier process, under the same request id (B46)",
  ],
];

describe("a simulated cluster", () => {
  it("plays the same history from the same seed", async () => {
    const [once, again] = [await simulateCluster(7), await simulateCluster(7)];
    deepEqual(once, again);
  });

  for (const [seed, found] of regressions) {
    it(`does not fail again: ${found}`, async () => {
      ok((await simulateCluster(seed)).acknowledged > 0);
    });
  }

  it("24 seeds: nothing acknowledged is lost, nothing untrue is told, replicas agree", async () => {
    const { failures, sums } = await runClusterSeeds(1, 24);
    deepEqual(failures, []);
    equal(sums["seeds"], 24);
    for (const figure of ["crashes", "partitions", "snapshots", "leaderTerms"]) {
      ok((sums[figure] ?? 0) > 5, `${figure}: ${sums[figure]}`);
    }
  });
});
