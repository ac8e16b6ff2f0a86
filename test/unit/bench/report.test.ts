import assert from "node:assert/strict";
import { test } from "node:test";
import type { Measurement } from "../../../bench/measurement.ts";
import { linesOf } from "../../../bench/report.ts";

const measurement: Measurement = {
  scenario: "backlog",
  label: "100 B",
  durability: "fsync before every ack",
  figures: { rssMax: 123_456_789, restartMs: 1234.5, share: 0.5 },
  bars: [
    { what: "RSS", value: 123.4, limit: 500, direction: "at most", unit: "MB" },
    { what: "restart", value: 6, limit: 5, direction: "at most", unit: "s" },
  ],
  problems: [],
  configuration: {},
};

test("every line says the durability", () => {
  const [line] = linesOf(measurement);
  assert.match(line ?? "", /fsync before every ack/);
});

test("figures have their units", () => {
  const [line] = linesOf(measurement);
  assert.match(line ?? "", /rssMax 123 MB · restartMs 1,235 · share 0.50/);
});

test("bars tell whether they hold", () => {
  assert.deepEqual(linesOf(measurement).slice(1), [
    "    holds  RSS: 123.4 MB, at most 500.0",
    "    MISSED restart: 6.0 s, at most 5.0",
  ]);
});

test("a run with a problem is called invalid", () => {
  const lines = linesOf({ ...measurement, problems: ["1 task was lost"] });
  assert.equal(lines.at(-1), "    INVALID: 1 task was lost");
});
