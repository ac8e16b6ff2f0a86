import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createPayload, numberOf, setNumber } from "../../../bench/load/payload.ts";

test("a payload gives its number back, wherever it lies in a frame", () => {
  const number = fc.integer({ min: 0, max: 999_999_999_999 });
  const bytes = fc.integer({ min: 14, max: 2000 });
  fc.assert(
    fc.property(number, bytes, fc.integer({ min: 0, max: 50 }), (task, size, before) => {
      const payload = createPayload(size);
      setNumber(payload, task);
      assert.equal(payload.length, size);
      assert.equal(numberOf(Buffer.concat([Buffer.alloc(before), payload]), before), task);
    }),
  );
});

test("a payload is a JSON string", () => {
  const payload = createPayload(20);
  setNumber(payload, 1234);
  assert.equal(JSON.parse(payload.toString()), "000000001234xxxxxx");
});

test("anything else has no number", () => {
  for (const text of ["", '"', '"00000000000x"', "0000000000000", '"123"']) {
    assert.equal(numberOf(Buffer.from(text), 0), -1, text);
  }
});

test("a payload without room for its number is refused", () => {
  assert.throws(() => createPayload(13), /at least 14/);
});
