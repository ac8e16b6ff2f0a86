import assert from "node:assert/strict";
import { test } from "node:test";
import { createClock, createRandom, createTimers } from "../../../src/platform/system.ts";

test("no timer calls back before its time, not by a part of a millisecond", async () => {
  const timers = createTimers();
  const early: number[] = [];
  for (let i = 0; i < 200; i++) {
    const set = performance.now();
    const left = await new Promise<number>((resolve) => {
      timers.after(1.9, () => resolve(1.9 - (performance.now() - set)));
    });
    if (left > 0) early.push(left);
    // Starts the next one at another part of a millisecond.
    while (performance.now() - set < 2 + i / 200);
  }
  assert.deepEqual(early, []);
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
