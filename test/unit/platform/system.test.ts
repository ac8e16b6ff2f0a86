import assert from "node:assert/strict";
import { test } from "node:test";
import { createClock, createRandom, createTimers } from "../../../src/platform/system.ts";

test("a timer never calls back before its time, even when set late in a long turn", async () => {
  const timers = createTimers();
  const started = performance.now();
  while (performance.now() - started < 30);
  const set = performance.now();
  const fired = await new Promise<number>((resolve) => {
    timers.after(20, () => resolve(performance.now()));
  });
  assert.ok(fired - set >= 20, `called after ${fired - set} ms`);
});

test("a canceled timer does not call back", async () => {
  const timers = createTimers();
  let called = false;
  const handle = timers.after(1, () => {
    called = true;
  });
  handle.cancel();
  await new Promise<void>((resolve) => {
    timers.after(10, resolve);
  });
  assert.equal(called, false);
});

test("soon calls back after the current code, in the order of the calls", async () => {
  const timers = createTimers();
  const order: number[] = [];
  timers.soon(() => order.push(1));
  timers.soon(() => order.push(2));
  order.push(0);
  await new Promise<void>((resolve) => timers.soon(resolve));
  assert.deepEqual(order, [0, 1, 2]);
});

test("the wall clock is in whole ms and the monotonic one does not go back", () => {
  const clock = createClock();
  assert.ok(Number.isInteger(clock.wallMs()));
  const first = clock.monotonicMs();
  assert.ok(clock.monotonicMs() >= first);
});

test("random bytes differ from call to call", () => {
  const random = createRandom();
  const one = Buffer.alloc(16);
  const two = Buffer.alloc(16);
  random.fill(one);
  random.fill(two);
  assert.notDeepEqual(one, two);
  const unit = random.unit();
  assert.ok(unit >= 0 && unit < 1);
});
