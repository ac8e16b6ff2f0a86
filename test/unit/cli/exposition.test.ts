import assert from "node:assert/strict";
import { test } from "node:test";
import { Exposition, quantileBetween } from "../../../src/cli/exposition.ts";

const scrape = (below1: number, below2: number, all: number) =>
  new Exposition(
    [
      "# TYPE h histogram",
      `h_bucket{op="create",shard="0",le="0.001"} ${below1}`,
      `h_bucket{op="create",shard="0",le="0.01"} ${below2}`,
      `h_bucket{op="create",shard="0",le="+Inf"} ${all}`,
      `h_bucket{op="create",shard="1",le="0.001"} ${below1}`,
      `h_bucket{op="create",shard="1",le="0.01"} ${below2}`,
      `h_bucket{op="create",shard="1",le="+Inf"} ${all}`,
      'h_bucket{op="claim",le="+Inf"} 7',
      'c{queue="a\\"b",op="create"} 3',
      'c{queue="c",op="create"} 4',
      "plain 5.5",
    ].join("\n"),
  );

test("sums the samples that have the labels; a metric that is not there is 0", () => {
  const metrics = scrape(0, 0, 0);
  assert.equal(metrics.sum("c"), 7);
  assert.equal(metrics.sum("c", { op: "create", queue: "c" }), 4);
  assert.equal(metrics.sum("plain"), 5.5);
  assert.equal(metrics.sum("none"), 0);
});

test("adds up the buckets of several shards, the bounds growing", () => {
  assert.deepEqual(scrape(1, 2, 3).buckets("h", { op: "create" }), [
    [0.001, 2],
    [0.01, 4],
    [Number.POSITIVE_INFINITY, 6],
  ]);
});

test("a quantile is that of what came between two scrapes", () => {
  const of = (quantile: number) => ({ name: "h", labels: { op: "create" }, quantile });
  const before = scrape(100, 100, 100);
  const after = scrape(100, 190, 200);
  assert.equal(quantileBetween(before, after, of(0.5)), 0.01);
  assert.equal(quantileBetween(before, after, of(0.99)), Number.POSITIVE_INFINITY);
  assert.ok(Number.isNaN(quantileBetween(after, after, of(0.5))));
});
