import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { QueueError } from "../../../src/base/errors.ts";
import { limits } from "../../../src/base/limits.ts";
import { type Claim, WaitersHarness } from "./waiters-harness.ts";

let h: WaitersHarness;
beforeEach(() => {
  h = new WaitersHarness();
});
// Whatever happened: nothing is left behind.
afterEach(() => {
  h.waiters.failAll(new QueueError("draining", "over"));
  assert.equal(h.waiters.waiting, 0);
  assert.equal(h.effects.pending, 0);
});

/** What a claim was told so far. */
function kindOf(claim: Claim): string | undefined {
  return claim.outcome?.kind;
}

const empty = { kind: "empty" };
const noLeader = new QueueError("no_leader", "moving");

describe("a claim", () => {
  test("that must not wait and finds nothing is empty, in a later turn", async () => {
    const claim = h.claim({ waitMs: 0 });
    assert.equal(claim.outcome, null);
    await h.soon();
    assert.deepEqual(claim.outcome, empty);
  });

  test("that finds work is sent at once and granted", () => {
    h.add(0, "q", 3);
    const claim = h.claim({ count: 2 });
    assert.equal(h.waiters.waiting, 0);
    h.shards[0].answer();
    assert.equal(claim.outcome?.kind === "granted" && claim.outcome.count, 2);
  });

  test("that found work, lost it to a faster one and waits, ends in time", () => {
    h.add(0, "q", 1);
    const slow = h.claim();
    h.shards[0].apply({ ...faster });
    h.shards[0].answer();
    assert.equal(slow.outcome, null);
    assert.equal(h.waiters.waiting, 1);
    h.effects.advance(9_000);
    assert.equal(slow.outcome, null);
    h.effects.advance(1_000);
    assert.deepEqual(slow.outcome, empty);
  });

  test("whose wait began late still ends at the time it was asked for", () => {
    h.add(0, "q", 1);
    const slow = h.claim({ waitMs: 10_000 });
    h.effects.advance(8_000);
    h.shards[0].apply({ ...faster });
    h.shards[0].answer();
    h.effects.advance(1_700);
    assert.equal(slow.outcome, null);
    h.effects.advance(300);
    assert.deepEqual(slow.outcome, empty);
  });

  test("whose time went by while its command was on its way does not wait after it", () => {
    h.add(0, "q", 1);
    const slow = h.claim({ waitMs: 1_000 });
    h.shards[0].apply({ ...faster });
    h.effects.advance(5_000);
    h.shards[0].answer();
    h.effects.advance(0);
    assert.deepEqual(slow.outcome, empty);
  });

  test("that waits for ever has no timer, and is granted when work comes", () => {
    const claim = h.claim({ waitMs: Number.POSITIVE_INFINITY });
    assert.equal(h.effects.pending, 0);
    h.effects.advance(3_600_000);
    h.add(1, "q", 1);
    h.shards[1].answer();
    assert.equal(kindOf(claim), "granted");
  });

  test("whose time is up while it claims gets what the command finds", () => {
    const lucky = h.claim({ waitMs: 1_000 });
    const unlucky = h.claim({ waitMs: 1_000 });
    h.add(0, "q", 2);
    h.effects.advance(2_000);
    assert.equal(lucky.outcome, null);
    h.shards[0].answer();
    assert.equal(kindOf(lucky), "granted");
    h.shards[0].apply({ ...faster });
    h.shards[0].answer();
    assert.deepEqual(unlucky.outcome, empty);
  });
});

describe("waiting claims", () => {
  test("are served in the order of their arrival, for one queue or for any", () => {
    const first = h.claim();
    const second = h.claim({ queues: null });
    const third = h.claim();
    h.add(0, "q", 1);
    assert.equal(h.shards[0].onTheWay.length, 1);
    h.shards[0].answer();
    assert.equal(kindOf(first), "granted");
    h.add(0, "q", 2);
    h.shards[0].answer();
    assert.equal(kindOf(second), "granted");
    assert.equal(third.outcome, null);
    h.shards[0].answer();
    assert.equal(kindOf(third), "granted");
  });

  test("that found nothing go back to their old place", () => {
    const first = h.claim();
    const second = h.claim();
    h.add(0, "q", 1);
    h.shards[0].apply({ ...faster });
    h.shards[0].answer();
    assert.deepEqual([first.outcome, second.outcome], [null, null]);
    h.add(0, "q", 1);
    h.shards[0].answer();
    assert.equal(kindOf(first), "granted");
    assert.equal(second.outcome, null);
  });

  test("are not woken for tasks that a claim on its way has asked for", () => {
    h.claim({ count: 5 });
    h.claim();
    h.add(0, "q", 5);
    assert.equal(h.shards[0].onTheWay.length, 1);
    h.add(0, "q", 1);
    assert.equal(h.shards[0].onTheWay.length, 2);
    h.shards[0].answer();
    h.shards[0].answer();
  });

  test("of other queues and tenants sleep on", () => {
    const others = [h.claim({ queues: ["p"] }), h.claim({ tenant: "u" })];
    h.add(0, "q", 1);
    assert.equal(h.shards[0].onTheWay.length, 0);
    assert.deepEqual(
      others.map(({ outcome }) => outcome),
      [null, null],
    );
  });

  test("take the highest priority over all shards first", () => {
    h.add(0, "q", 1, 2);
    h.add(1, "q", 1, 7);
    h.claim();
    assert.deepEqual([h.shards[0].onTheWay.length, h.shards[1].onTheWay.length], [0, 1]);
    h.shards[1].answer();
  });

  test("take from shards with equal work in turn", () => {
    h.add(0, "q", 10);
    h.add(1, "q", 10);
    for (let i = 0; i < 6; i++) h.claim();
    assert.deepEqual(
      h.shards.map(({ onTheWay }) => onTheWay.length),
      [3, 3],
    );
  });

  test("are bounded in number", async () => {
    const forEver = Number.POSITIVE_INFINITY;
    for (let i = 0; i < limits.waitingClaims; i++) h.claim({ waitMs: forEver });
    const refused = h.claim();
    await h.soon();
    assert.equal(refused.outcome?.kind === "failed" && refused.outcome.error.code, "overloaded");
  });

  test("all end with the error of a node that stops", () => {
    const claims = [h.claim(), h.claim({ queues: null }), h.claim({ queues: ["a", "b"] })];
    h.waiters.failAll(new QueueError("draining", "over"));
    for (const { outcome } of claims) {
      assert.equal(outcome?.kind === "failed" && outcome.error.code, "draining");
    }
  });
});

describe("claims that find work here and on another node", () => {
  const [led, other] = [() => h.shards[0], () => h.shards[1]];
  beforeEach(() => {
    h.passesOn = true;
    other().leads = false;
  });

  test("take what is led here, and every sixteenth the other", () => {
    h.add(0, "q", 200);
    h.add(1, "q", 200);
    for (let i = 0; i < 48; i++) h.claim();
    assert.deepEqual([led().onTheWay.length, other().passedOn], [45, 3]);
  });

  test("go where more than four times as much is ready", () => {
    h.add(0, "q", 100);
    h.add(1, "q", 403);
    for (let i = 0; i < 3; i++) h.claim();
    // 403 > 400, 402 > 400, 401 > 400, …
    assert.deepEqual([led().onTheWay.length, other().passedOn], [0, 3]);
    h.claim();
    assert.deepEqual([led().onTheWay.length, other().passedOn], [1, 3]);
  });

  test("go where the priority is higher, and away when there is nothing here", () => {
    h.add(0, "q", 100, 3);
    h.add(1, "q", 1, 4);
    h.claim();
    assert.deepEqual([led().onTheWay.length, other().passedOn], [0, 1]);
    h.add(1, "p", 1);
    h.claim({ queues: ["p"] });
    assert.deepEqual([led().onTheWay.length, other().passedOn], [0, 2]);
  });
});

describe("a canceled claim", () => {
  test("is never answered and leaves its lists", () => {
    const claim = h.claim({ queues: ["q", "p"] });
    claim.handle.cancel();
    claim.handle.cancel();
    assert.equal(h.waiters.waiting, 0);
    h.add(0, "q", 1);
    assert.equal(h.shards[0].onTheWay.length, 0);
    assert.equal(claim.outcome, null);
  });

  test("gives back what its command got", () => {
    h.add(0, "q", 2);
    const claim = h.claim({ count: 2 });
    claim.handle.cancel();
    h.shards[0].answer();
    assert.equal(claim.outcome, null);
    assert.deepEqual(
      h.released.map(({ count }) => count),
      [2],
    );
  });

  test("whose command found nothing is over", () => {
    h.add(0, "q", 1);
    const claim = h.claim();
    claim.handle.cancel();
    h.shards[0].apply({ ...faster });
    h.shards[0].answer();
    assert.equal(h.waiters.waiting, 0);
    assert.equal(claim.outcome, null);
  });
});

describe("a claim whose command failed", () => {
  test("waits on while the leader moves, and is served by the next one", () => {
    h.add(0, "q", 1);
    const claim = h.claim();
    h.shards[0].refuse(noLeader);
    assert.equal(claim.outcome, null);
    h.add(1, "q", 1);
    h.shards[1].answer();
    assert.equal(kindOf(claim), "granted");
  });

  test("is told so if it must not wait, or if no shard is served here any more", () => {
    h.add(0, "q", 1);
    const now = h.claim({ waitMs: 0 });
    h.shards[0].refuse(noLeader);
    assert.equal(now.outcome?.kind === "failed" && now.outcome.error.code, "no_leader");
    const later = h.claim();
    for (const shard of h.shards) shard.leads = false;
    h.shards[0].refuse(noLeader);
    assert.equal(later.outcome?.kind === "failed" && later.outcome.error.code, "no_leader");
  });

  test("is told of every other error", () => {
    h.add(0, "q", 1);
    const claim = h.claim();
    h.shards[0].refuse(new QueueError("unknown_outcome", "lost"));
    assert.equal(claim.outcome?.kind === "failed" && claim.outcome.error.code, "unknown_outcome");
  });
});

/** A claim of another node or stream that came first. */
const faster = {
  kind: "claim",
  tenant: "t",
  queues: ["q"],
  count: 1,
  bytesMax: 1e6,
  leaseMs: 60_000,
  workerId: "faster",
} as const;
