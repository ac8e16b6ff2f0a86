import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LatencyHistogram } from "../../../bench/measure/histogram.ts";

function histogramOf(values: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

test("a quantile is at most 3.2 % above the value it stands for, and never below", () => {
  const values = fc.array(fc.integer({ min: 0, max: 600_000_000 }), { minLength: 1 });
  fc.assert(
    fc.property(values, fc.double({ min: 0.01, max: 1, noNaN: true }), (list, share) => {
      const sorted = [...list].sort((a, b) => a - b);
      const exact = sorted[Math.ceil(share * sorted.length) - 1] as number;
      const found = histogramOf(list).quantile(share);
      assert.ok(found >= exact && found <= exact * 1.032, `${found} for ${exact}`);
    }),
  );
});

test("small values are exact", () => {
  for (let us = 0; us < 64; us++) assert.equal(histogramOf([us, 1000]).quantile(0.5), us);
});

test("what is recorded many times weighs as much", () => {
  const histogram = new LatencyHistogram();
  histogram.record(10, 99);
  histogram.record(5000);
  assert.equal(histogram.quantile(0.99), 10);
  assert.equal(histogram.quantile(1), 5000);
  assert.equal(histogram.summary().count, 100);
});

test("values beyond every bucket count as the longest, negative ones as none", () => {
  assert.equal(histogramOf([2 ** 40]).quantile(1), 2 ** 30 - 1);
  assert.equal(histogramOf([-5]).quantile(1), 0);
});

test("a summary is in ms and starts again after a reset", () => {
  const histogram = histogramOf([50, 50, 50, 2_000_000]);
  assert.deepEqual(histogram.summary(), {
    count: 4,
    p50Ms: 0.05,
    p99Ms: 2000,
    p999Ms: 2000,
    maxMs: 2000,
  });
  histogram.reset();
  assert.deepEqual(histogram.summary(), { count: 0, p50Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 });
});
