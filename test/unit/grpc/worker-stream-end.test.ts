/** The end of a worker's stream, its back pressure and what it is told, over a scripted router. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeHeartbeat, encodeResultBatch } from "../../../src/api/settle-coder.ts";
import { QueueError } from "../../../src/base/errors.ts";
import { until, worker } from "./harness.ts";
import { complete, make, on, ready, take, takeOne } from "./worker-harness.ts";

test("a stream's end takes its waiting claims back", async () => {
  const stream = await worker(on);
  stream.send(ready()).send(ready(5));
  await until(() => on.router.claims.size === 2, "both claims wait");
  stream.cancel();
  await until(() => on.router.claims.size === 0, "both are taken back");
  assert.equal(on.router.claimsCanceled, 2);
  assert.equal(on.router.settled.length, 0);
});

test("leases are handed back at the end only if the Hello asked, and only those still held", async () => {
  for (const releaseOnClose of [false, true]) {
    const stream = await worker(on, { releaseOnClose });
    make(3);
    const tasks = await take(stream, 3);
    const [done, held, beaten] = tasks;
    assert.ok(done && held && beaten);
    stream.send(complete(done.id, done.leaseToken));
    await stream.next();
    stream.send(encodeHeartbeat(beaten.id, beaten.leaseToken, { extendSeconds: 9 }));
    await stream.next();
    stream.send(ready(1, ["none"]));
    await until(() => on.router.claims.size === 1, "the claim waits");
    stream.cancel();
    if (!releaseOnClose) {
      // A claim that is taken back tells that the server knows of the end.
      await until(() => on.router.claimsCanceled === 1, "the server knows");
      assert.equal(on.router.settled.filter((one) => one.kind === "release").length, 0);
      continue;
    }
    const released = () => on.router.settled.filter((one) => one.kind === "release");
    await until(() => released().length > 0, "they are handed back");
    assert.deepEqual(
      released()
        .map((one) => [one.id, one.leaseToken, one.workerId])
        .sort(),
      [
        [held.id, held.leaseToken, "w1"],
        [beaten.id, beaten.leaseToken, "w1"],
      ].sort(),
    );
  }
});

test("a cancel is told to the stream that holds the lease, if it follows", async () => {
  const follower = await worker(on, { followLeader: true });
  const other = await worker(on, { workerId: "w2", followLeader: true });
  const plain = await worker(on, { workerId: "w3" });
  make(1);
  const mine = await takeOne(follower);
  make(1);
  const theirs = await takeOne(plain);
  const notice = { tenant: "acme", taskId: mine.id, leaseToken: mine.leaseToken, workerId: "w1" };
  on.router.cancelTask({ ...notice, leaseToken: mine.leaseToken + 7 });
  on.router.cancelTask(notice);
  on.router.cancelTask({
    ...notice,
    taskId: theirs.id,
    leaseToken: theirs.leaseToken,
    workerId: "w3",
  });
  assert.deepEqual(await follower.next(), {
    kind: "cancel",
    taskId: mine.id,
    leaseToken: mine.leaseToken,
  });
  for (const stream of [follower, other, plain]) {
    stream.send(encodeResultBatch([]));
    assert.equal((await stream.next()).kind, "result_ack_batch");
    stream.cancel();
  }
});

test("drain: an idle worker's stream ends at once with UNAVAILABLE", async () => {
  const stream = await worker(on);
  stream.send(ready());
  await until(() => on.router.claims.size === 1, "the claim waits");
  await on.server.drain();
  const error = await stream.next();
  assert.ok(error.kind === "error");
  assert.equal(error.code, "Draining");
  assert.equal((await stream.ended).code, 14);
  assert.equal(on.router.claims.size, 0);
});

test("drain: a worker that holds a lease may settle it first", async () => {
  const stream = await worker(on);
  make(1);
  const { id, leaseToken } = await takeOne(stream);
  stream.send(ready());
  await until(() => on.router.claims.size === 1, "the claim waits");
  let isDrained = false;
  const drained = on.server.drain().then(() => {
    isDrained = true;
  });
  stream.send(encodeHeartbeat(id, leaseToken, { extendSeconds: 5 }));
  assert.equal((await stream.next()).kind, "heartbeat_ack");
  assert.equal(isDrained, false);
  stream.send(complete(id, leaseToken));
  assert.equal((await stream.next()).kind, "result_ack");
  assert.equal((await stream.next()).kind, "error");
  assert.equal((await stream.ended).code, 14);
  await drained;
});

test("drain: where others lead, a worker that follows them takes its leases along", async () => {
  const stream = await worker(on, { releaseOnClose: true, followLeader: true });
  make(1);
  await takeOne(stream);
  const before = on.router.settled.length;
  const drained = on.server.drain();
  // what could not be handed over at first is, a moment later
  on.router.isLeader = false;
  on.advance(1_000);
  await drained;
  on.router.isLeader = true;
  assert.equal((await stream.next()).kind, "error");
  assert.equal((await stream.ended).code, 14);
  assert.deepEqual(on.router.settled.slice(before), []);
});

test("half-closing a worker's stream ends it well and takes its claims back", async () => {
  const stream = await worker(on);
  stream.send(ready());
  await until(() => on.router.claims.size === 1, "the claim waits");
  stream.call.end();
  assert.equal((await stream.ended).code, 0);
  assert.equal(on.router.claims.size, 0);
});

test("who was told that the node leads nothing takes the leases along, until tasks come again", async () => {
  const leader = { shard: 0, term: 3, leaderId: "n2", leaderHttp: "", leaderGrpc: "h:1" };
  for (const isGivenMore of [false, true]) {
    const stream = await worker(on, { releaseOnClose: true, followLeader: true });
    make(1);
    await takeOne(stream);
    on.router.failClaims = new QueueError("not_leader", "n2 leads", { leader });
    stream.send(ready());
    assert.equal((await stream.next()).kind, "error");
    on.router.failClaims = null;
    const before = on.router.settled.length;
    if (isGivenMore) {
      make(1);
      await takeOne(stream);
    }
    stream.send(ready(1, ["none"]));
    await until(() => on.router.claims.size === 1, "the claim waits");
    stream.cancel();
    await until(() => on.router.claims.size === 0, "the server knows of the end");
    const released = on.router.settled.slice(before).filter(({ kind }) => kind === "release");
    assert.equal(released.length, isGivenMore ? 2 : 0);
  }
});

for (const error of [
  new QueueError("not_leader", "n2 leads", {
    leader: { shard: 0, term: 3, leaderId: "n2", leaderHttp: "", leaderGrpc: "h:1" },
  }),
  new QueueError("no_leader", "no leader is known"),
]) {
  test(`who was told ${error.code} by an ack takes the leases along`, async () => {
    const stream = await worker(on, { releaseOnClose: true, followLeader: true });
    make(1);
    const task = await takeOne(stream);
    on.router.failWith = error;
    const before = on.router.settled.length;
    stream.send(complete(task.id, task.leaseToken));
    await stream.next();
    on.router.failWith = null;
    stream.send(ready(1, ["none"]));
    await until(() => on.router.claims.size === 1, "the claim waits");
    stream.cancel();
    await until(() => on.router.claims.size === 0, "the server knows of the end");
    const released = on.router.settled.slice(before).filter(({ kind }) => kind === "release");
    assert.equal(released.length, 0);
  });
}
