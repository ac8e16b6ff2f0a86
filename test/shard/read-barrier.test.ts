import { deepEqual, notEqual, rejects } from "node:assert/strict";
import { describe, it } from "node:test";
import { toLogIndex } from "../../src/base/brand.ts";
import { QueueError } from "../../src/base/errors.ts";
import { ReadBarrier } from "../../src/shard/read-barrier.ts";
import { createSeededRandom } from "../sim/seeded-random.ts";

function world(seed: number) {
  const asked: number[] = [];
  const timers: (() => void)[] = [];
  const soon: (() => void)[] = [];
  const state = { applied: 0 };
  const barrier = new ReadBarrier({
    timers: {
      after: (_ms, callback) => {
        timers.push(callback);
        return { cancel: () => timers.splice(timers.indexOf(callback), 1) };
      },
      soon: (callback) => soon.push(callback),
    },
    random: createSeededRandom(seed),
    ask: (requestId) => {
      asked.push(requestId);
      return true;
    },
    appliedIndex: () => state.applied,
    retryMs: 300,
    tries: 3,
  });
  const turn = () => {
    for (const callback of soon.splice(0)) callback();
  };
  const fire = () => {
    for (const callback of timers.splice(0)) callback();
  };
  return { barrier, asked, turn, fire, state };
}

describe("the read barrier", () => {
  it("lets reads of one turn share a question, and waits until the index is applied", async () => {
    const { barrier, asked, turn, state } = world(1);
    const done: string[] = [];
    const reads = ["a", "b"].map((name) => barrier.wait().then(() => done.push(name)));
    turn();
    barrier.answered({ requestId: asked[0] as number, index: toLogIndex(7) });
    await Promise.resolve();
    deepEqual([asked.length, done], [1, []]);
    state.applied = 7;
    barrier.applied();
    await Promise.all(reads);
    deepEqual(done, ["a", "b"]);
  });

  it("never asks under an id that an earlier process may have used (B46)", () => {
    const ids = [1, 2, 3].map((seed) => {
      const { barrier, asked, turn } = world(seed);
      barrier.wait().catch(() => undefined);
      turn();
      return asked[0] as number;
    });
    notEqual(ids[0], ids[1]);
    notEqual(ids[1], ids[2]);
  });

  it("takes no answer to a question that it has put again", async () => {
    const { barrier, asked, turn, fire, state } = world(1);
    let isDone = false;
    const read = barrier.wait().then(() => {
      isDone = true;
    });
    turn();
    fire();
    state.applied = 9;
    barrier.answered({ requestId: asked[0] as number, index: toLogIndex(1) });
    await Promise.resolve();
    deepEqual([asked.length, isDone], [2, false]);
    barrier.answered({ requestId: asked[1] as number, index: toLogIndex(9) });
    await read;
  });

  it("fails when nobody answers, after a bounded number of questions", async () => {
    const { barrier, asked, turn, fire } = world(1);
    const read = barrier.wait();
    turn();
    for (let i = 0; i < 5; i++) fire();
    await rejects(
      read,
      (error: unknown) => error instanceof QueueError && error.code === "no_leader",
    );
    deepEqual(asked.length, 3);
  });
});
