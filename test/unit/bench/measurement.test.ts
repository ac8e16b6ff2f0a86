import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { LoadOutcome } from "../../../bench/load-process.ts";
import { metricSum } from "../../../bench/measure/exposition.ts";
import { parseCpuTicks } from "../../../bench/measure/process-usage.ts";
import { holds, median, slowestMean, throughputOf } from "../../../bench/measurement.ts";

const none = { count: 0, p50Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 };
const counts = {
  sent: 0,
  created: 0,
  completed: 0,
  cycles: 0,
  redelivered: 0,
  completedTwice: 0,
  unknown: 0,
};

describe("throughput", () => {
  test("CPU is counted per cycle of the time measured", () => {
    const outcome: LoadOutcome = {
      cyclesPerSecond: [100, 300],
      createAck: none,
      endToEnd: none,
      counts,
      unfinished: [],
      samples: [],
      perShard: [],
      refusals: [],
      server: { cpuMs: 800, rssMax: 7, mappedMax: 8, longestGapMs: 0 },
      load: { cpuMs: 400, rssMax: 1, mappedMax: 1, longestGapMs: 0 },
      elapsedMs: 2000,
    };
    const throughput = throughputOf(outcome);
    assert.equal(throughput.cyclesPerSecond, 200);
    assert.equal(throughput.serverCpuUs, 2000);
    assert.equal(throughput.loadCpuUs, 1000);
    assert.deepEqual([throughput.rssMax, throughput.mappedMax], [7, 8]);
  });

  test("the slowest seconds are those in a row", () => {
    assert.equal(slowestMean([10, 0, 10, 10, 0, 0], 2), 0);
    assert.equal(slowestMean([10, 0, 10, 10, 10, 0], 2), 5);
  });

  test("fewer seconds than asked for are all of them", () => {
    assert.equal(slowestMean([4, 8], 5), 6);
  });

  test("a median of an even number lies between the middle ones", () => {
    assert.equal(median([5, 1, 9]), 5);
    assert.equal(median([1, 9, 5, 3]), 4);
  });
});

test("a bar holds at its limit", () => {
  const bar = { what: "", limit: 10, unit: "" };
  assert.ok(holds({ ...bar, value: 10, direction: "at least" }));
  assert.ok(holds({ ...bar, value: 10, direction: "at most" }));
  assert.ok(!holds({ ...bar, value: 9, direction: "at least" }));
  assert.ok(!holds({ ...bar, value: 11, direction: "at most" }));
  assert.ok(!holds({ ...bar, value: Number.NaN, direction: "at most" }));
});

describe("sources", () => {
  test("CPU time is found behind a name with spaces and parentheses", () => {
    const stat = "12 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 111 222 13 14";
    assert.equal(parseCpuTicks(stat), 333);
  });

  test("samples of a metric are added up, by label", () => {
    const text = [
      "# HELP a_total words",
      'a_total{op="create",shard="0"} 5',
      'a_total{op="create",shard="1"} 7 1700000000000',
      'a_total{op="settle",shard="0"} 100',
      "a_total_more 1000",
      "plain 3",
    ].join("\n");
    assert.equal(metricSum(text, "a_total", { op: "create" }), 12);
    assert.equal(metricSum(text, "a_total"), 112);
    assert.equal(metricSum(text, "plain"), 3);
    assert.ok(Number.isNaN(metricSum(text, "a_total", { op: "claim" })));
  });
});
