import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Measurement } from "../../../bench/measurement.ts";
import { Contest, standingText } from "../../../bench/peers/contest.ts";

const none = { count: 0, p50Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 };

function run(cyclesPerSecond: number, problems: readonly string[] = []): Measurement {
  return {
    scenario: "x",
    label: "x",
    durability: "x",
    throughput: {
      cyclesPerSecond,
      slowest5sShare: 1,
      perSecond: [],
      createAck: none,
      endToEnd: none,
      serverCpuUs: 0,
      loadCpuUs: 0,
      rssMax: 0,
      mappedMax: 0,
    },
    figures: {},
    bars: [],
    problems,
    configuration: {},
  };
}

const rival = { name: "other", title: "Another", durability: "fsync before every ack" };

describe("a contest", () => {
  test("compares the medians of both", () => {
    const contest = new Contest();
    for (const rate of [300, 100, 200]) contest.add("own", run(rate));
    for (const rate of [50, 10, 1000]) contest.add("other", run(rate));
    assert.deepEqual(contest.standing(rival, "own"), {
      ...rival,
      median: 50,
      rounds: 3,
      ratio: 4,
    });
  });

  test("counts no run in which something was lost", () => {
    const contest = new Contest();
    contest.add("own", run(100));
    contest.add("other", run(1_000_000, ["3 tasks were created and never completed"]));
    contest.add("other", run(50));
    const { median, rounds, ratio } = contest.standing(rival, "own");
    assert.deepEqual([median, rounds, ratio], [50, 1, 2]);
    assert.equal(contest.measurements.length, 3);
  });

  test("says so where no run was valid", () => {
    const contest = new Contest();
    contest.add("own", run(100));
    contest.add("other", run(50, ["the machine stood still"]));
    const standing = contest.standing(rival, "own");
    assert.deepEqual([standing.median, standing.ratio], [null, null]);
    assert.equal(standingText(standing), "other: no valid run");
  });

  test("prints durability and ratio, and whether a bar holds", () => {
    const standing = { ...rival, median: 1234.5, rounds: 3, ratio: 2.3 };
    assert.equal(
      standingText(standing),
      "other 1,235 cycles/s · fsync before every ack · ratio 2.30",
    );
    assert.match(standingText({ ...standing, bar: 2.2 }), /2\.30, at least 2\.2: holds$/);
    assert.match(standingText({ ...standing, bar: 2.4 }), /2\.30, at least 2\.4: MISSED$/);
  });

  test("has no ratio for QuorumQ itself", () => {
    const contest = new Contest();
    contest.add("other", run(100));
    assert.equal(
      standingText(contest.standing(rival)),
      "other 100 cycles/s · fsync before every ack",
    );
  });
});
