/** Leader time: what it follows, and what leaves it alone. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { createLeaderClock, type LeaderClock } from "../../../src/shard/leader-clock.ts";

const start = 1_800_000_000_000;

describe("leader time", () => {
  let passedMs = 0;
  let wallMs = start;
  let time: LeaderClock;

  const pass = (ms: number) => {
    passedMs += ms;
    wallMs += ms;
  };

  beforeEach(() => {
    passedMs = 0;
    wallMs = start;
    time = createLeaderClock({ monotonicMs: () => passedMs, wallMs: () => wallMs }, 0);
  });

  test("goes on with the monotonic clock when the wall clock jumps, and drifts towards it", () => {
    wallMs += 3_600_000;
    pass(1_000);
    assert.equal(time.now(), start + 1_005);
  });

  test("is the leader's for a replica that follows, whatever its own wall clock says", () => {
    time.follow(start - 60_000, 3);
    assert.equal(time.now(), start - 60_000);
    time.follow(start + 60_000, 3);
    assert.equal(time.now(), start + 60_000);
  });

  test("is not put back by messages that were under way for long", () => {
    for (let i = 0; i < 10; i++) {
      pass(100);
      time.follow(start + passedMs, 3);
    }
    pass(1_900);
    for (const lateMs of [1_900, 1_800, 1_700]) time.follow(start + passedMs - lateMs, 3);
    assert.equal(time.now(), start + passedMs);
    time.follow(start + passedMs, 3);
    // neither by the first one after a pause
    pass(10_000);
    time.follow(start + passedMs - 9_000, 3);
    assert.equal(time.now(), start + passedMs);
  });

  test("goes back with a leader whose clock does, after two spans", () => {
    time.follow(start, 3);
    for (let i = 0; i < 50; i++) {
      pass(100);
      time.follow(start + passedMs - 5, 3);
    }
    assert.equal(time.now(), start + passedMs - 5);
  });

  test("is a new leader's from its first message on", () => {
    time.follow(start + 60_000, 3);
    time.follow(start, 4);
    assert.equal(time.now(), start);
  });
});
