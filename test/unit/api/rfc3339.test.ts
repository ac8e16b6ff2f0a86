import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatTime, parseTime } from "../../../src/api/rfc3339.ts";

const endOf9999 = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

test("every time is written as Date writes it, and read back", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: endOf9999 }), (ms) => {
      const text = formatTime(ms);
      assert.equal(text, new Date(ms).toISOString());
      assert.equal(parseTime(text), ms);
    }),
  );
});

test("every day of the calendar from 1970 to 2400 is written and read", () => {
  for (let ms = 0; ms < Date.UTC(2401, 0, 1); ms += 86_400_000) {
    const text = formatTime(ms);
    if (text !== new Date(ms).toISOString() || parseTime(text) !== ms) assert.fail(text);
  }
});

const read: readonly [text: string, ms: number | undefined][] = [
  ["1970-01-01T00:00:00Z", 0],
  ["2026-03-05T08:09:10+02:00", Date.UTC(2026, 2, 5, 6, 9, 10)],
  ["2026-03-05t08:09:10.5-00:30", Date.UTC(2026, 2, 5, 8, 39, 10, 500)],
  ["2026-03-05T08:09:10.000000001Z", Date.UTC(2026, 2, 5, 8, 9, 10, 1)],
  ["2016-12-31T23:59:60Z", Date.UTC(2017, 0, 1)],
  ["2024-02-29T00:00:00Z", Date.UTC(2024, 1, 29)],
  ["0000-01-01T00:00:00Z", Date.parse("0000-01-01T00:00:00Z")],
  ["2023-02-29T00:00:00Z", undefined],
  ["2026-13-01T00:00:00Z", undefined],
  ["2026-04-31T00:00:00Z", undefined],
  ["2026-01-01T24:00:00Z", undefined],
  ["2026-01-01T00:00:61Z", undefined],
  ["2026-01-01T00:00:00", undefined],
  ["2026-01-01", undefined],
  ["+275760-09-13T00:00:00Z", undefined],
  ["275760-09-13T00:00:00Z", undefined],
  ["tomorrow", undefined],
  ["2026-01-01T00:00:00Z\n", undefined],
];

for (const [text, ms] of read) {
  test(`${JSON.stringify(text)} is ${ms === undefined ? "no time" : ms}`, () => {
    assert.equal(parseTime(text), ms);
  });
}
