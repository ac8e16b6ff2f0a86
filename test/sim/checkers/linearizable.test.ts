import assert from "node:assert/strict";
import { test } from "node:test";
import { linearize, type Operation } from "./linearizable.ts";

const never = Number.POSITIVE_INFINITY;

function write(calledUs: number, answeredUs: number, value: number): Operation<number> {
  return { what: `write ${value}`, calledUs, answeredUs, step: () => [value] };
}

function read(calledUs: number, answeredUs: number, value: number): Operation<number> {
  const step = (state: number) => (state === value ? [state] : []);
  return { what: `read ${value}`, calledUs, answeredUs, step };
}

function verdict(...operations: Operation<number>[]) {
  return linearize(operations, 0, String);
}

test("a read that overlaps a write may see it or not, one after it must", () => {
  assert.equal(verdict(write(0, 10, 1), read(5, 6, 0), read(7, 8, 1)), "linearizable");
  assert.equal(verdict(write(0, 10, 1), read(11, 12, 0)), "not linearizable");
});

test("what one read saw a later one sees too", () => {
  assert.equal(verdict(write(0, 10, 1), read(1, 2, 1), read(3, 4, 0)), "not linearizable");
});

test("what was never answered may have happened late, or never", () => {
  assert.equal(verdict(write(0, never, 1), read(5, 6, 0), read(7, 8, 1)), "linearizable");
  assert.equal(verdict(write(0, never, 1), read(5, 6, 0)), "linearizable");
  assert.equal(verdict(write(0, never, 1), read(1, 2, 1), read(3, 4, 0)), "not linearizable");
});

test("writes that overlap happen in the order that reads tell", () => {
  const writes = [write(0, 10, 1), write(0, 10, 2)];
  assert.equal(verdict(...writes, read(11, 12, 1)), "linearizable");
  assert.equal(verdict(...writes, read(11, 12, 2)), "linearizable");
  assert.equal(verdict(...writes, read(11, 12, 1), read(13, 14, 2)), "not linearizable");
});
