import assert from "node:assert/strict";
import { test } from "node:test";
import { startRetreat } from "../../../src/node/retreat.ts";
import type { Shard } from "../../../src/shard/shard.ts";

interface Voter {
  readonly id: number;
  readonly match: number;
  readonly isLearner?: boolean;
}

/** A shard led here, and what was asked of it. */
function shardOf(voters: readonly Voter[]) {
  const asked: number[] = [];
  const shard = {
    leads: true,
    consensus: {
      raft: {
        id: 1,
        status: () => ({
          transferee: 0,
          progress: [{ id: 1, match: 9 }, ...voters].map((of) => ({ isLearner: false, ...of })),
        }),
      },
      transferTo: (id: number) => asked.push(id),
    },
  };
  return { shard, asked, slot: shard as unknown as Shard };
}

function retreatOf(slots: (Shard | null)[], connected: readonly number[]) {
  const due: (() => void)[] = [];
  const timers = {
    after: (_ms: number, callback: () => void) => {
      due.push(callback);
      return { cancel: () => void due.splice(due.indexOf(callback), 1) };
    },
    soon: () => undefined,
  };
  const cluster = { isConnected: (id: number) => connected.includes(id) };
  const retreat = startRetreat({ shards: slots, cluster, timers } as never);
  return { retreat, look: () => due.shift()?.(), due };
}

test("the voter that is closest behind leads next, no learner and nobody out of reach", () => {
  const { shard, asked, slot } = shardOf([
    { id: 2, match: 5 },
    { id: 3, match: 8 },
    { id: 4, match: 9, isLearner: true },
    { id: 5, match: 9 },
  ]);
  const { retreat } = retreatOf([null, slot], [2, 3, 4]);
  assert.deepEqual(asked, [3]);
  assert.equal(retreat.isUnderWay, true);
  shard.leads = false;
  assert.equal(retreat.isUnderWay, false);
});

test("who has nobody to hand over to waits for nothing", () => {
  const { asked, slot } = shardOf([]);
  assert.equal(retreatOf([slot], []).retreat.isUnderWay, false);
  assert.deepEqual(asked, []);
});

test("a shard that comes back, also as another replica, is handed over again until the stop", () => {
  const first = shardOf([{ id: 2, match: 9 }]);
  const slots: (Shard | null)[] = [first.slot];
  const { retreat, look, due } = retreatOf(slots, [2]);
  first.shard.leads = false;
  look();
  assert.deepEqual(first.asked, [2]);
  const second = shardOf([{ id: 2, match: 9 }]);
  slots[0] = second.slot;
  look();
  assert.deepEqual(second.asked, [2]);
  retreat.stop();
  assert.deepEqual(due, []);
});
