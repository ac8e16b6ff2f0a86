/** What one node passes on to another: creates, claims, settles, reads, through any node. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClaimOutcome, CreateResults, Grant, SettleResults } from "../../src/router/router.ts";
import { Lab, type LabNode } from "./lab.ts";

interface Held<T> {
  value: T | null;
}

const task = { queue: "q", priority: 0, maxAttempts: 5, delayMs: 0, runAtMs: 0 };

async function create(lab: Lab, node: LabNode, keys: readonly string[]): Promise<CreateResults> {
  const held: Held<CreateResults> = { value: null };
  const batch = node.router?.createBatch("default");
  for (const key of keys) {
    const bytes = Buffer.from(`p-${key}`);
    batch?.add({ ...task, extras: null, idempotencyKey: key || null }, bytes, 0, bytes.length);
  }
  batch?.send(null, (results) => {
    held.value = results;
  });
  await lab.until("created", () => held.value !== null);
  return held.value as CreateResults;
}

function claim(node: LabNode, count: number, waitMs: number): Held<ClaimOutcome> {
  const held: Held<ClaimOutcome> = { value: null };
  const request = { tenant: "default", queues: null, count, bytesMax: 1_000_000, waitMs };
  node.router?.claim({ ...request, leaseMs: 60_000, workerId: "w" }, (outcome) => {
    held.value = outcome;
  });
  return held;
}

async function settle(lab: Lab, node: LabNode, grants: readonly Grant[]): Promise<SettleResults> {
  const held: Held<SettleResults> = { value: null };
  const batch = node.router?.settleBatch("default", "w");
  for (const { ids, count, leaseToken } of grants) {
    for (let i = 0; i < count; i++) batch?.complete(ids, 16 * i, leaseToken, null);
  }
  batch?.send((results) => {
    held.value = results;
  });
  await lab.until("settled", () => held.value !== null);
  return held.value as SettleResults;
}

const hundred = Array.from({ length: 100 }, (_, i) => `k${i}`);

describe("what nodes pass on", () => {
  it("through any node: a hundred keyed tasks over four shards are made, worked on and read", async () => {
    const lab = await Lab.founded(3, { shards: 4, forward: true });
    const [a, b, c] = lab.nodes as [LabNode, LabNode, LabNode];
    const made = await create(lab, a, hundred);
    deepEqual(
      [...made.codes],
      hundred.map(() => 0),
    );
    const again = await create(lab, b, hundred);
    deepEqual(
      [...again.duplicates],
      hundred.map(() => 1),
    );
    ok(again.ids.equals(made.ids));
    const payloads = new Set<string>();
    while (payloads.size < 100) {
      const held = claim(c, 30, 1_000);
      await lab.until("claimed", () => held.value !== null);
      const outcome = held.value as ClaimOutcome;
      equal(outcome.kind, "granted");
      if (outcome.kind !== "granted") return;
      for (const { block, payloadFrom, payloadTo, count } of outcome.grants) {
        for (let i = 0; i < count; i++) {
          payloads.add(block.toString("utf8", payloadFrom[i], payloadTo[i]));
        }
      }
      const { codes } = await settle(lab, a, outcome.grants);
      ok(codes.every((code) => code === 0));
    }
    equal(payloads.size, 100);
    let state = "";
    b.router?.task("default", made.ids.subarray(0, 16), "linearizable").then(
      (view) => {
        state = view.state;
      },
      (error: unknown) => lab.errors.push(error),
    );
    await lab.until("read", () => state !== "");
    equal(state, "completed");
  });

  it("a claim that waits on one node gets a task that is made on another", async () => {
    const lab = await Lab.founded(3, { forward: true });
    const leader = lab.leader() as LabNode;
    const [x, y] = lab.nodes.filter((node) => node !== leader) as [LabNode, LabNode];
    const held = claim(x, 1, Number.POSITIVE_INFINITY);
    await create(lab, y, [""]);
    await lab.until("claimed", () => held.value !== null);
    equal(held.value?.kind, "granted");
  });

  it("a waiting claim follows the leader when it moves", async () => {
    const lab = await Lab.founded(3, { forward: true });
    const old = lab.leader() as LabNode;
    const [x] = lab.nodes.filter((node) => node !== old) as [LabNode];
    const held = claim(x, 1, Number.POSITIVE_INFINITY);
    old.crash();
    await lab.until("another leader", () => lab.leader() !== undefined);
    await create(lab, lab.leader() as LabNode, [""]);
    await lab.until("claimed", () => held.value !== null);
    equal(held.value?.kind, "granted");
  });

  it("no redirect comes of it, though who was asked has just handed over: it is to be tried again", async () => {
    const lab = await Lab.founded(3, { forward: true });
    const old = lab.leader() as LabNode;
    const [x, next] = lab.nodes.filter((node) => node !== old) as [LabNode, LabNode];
    await create(lab, x, [""]);
    // x does not hear of the election.
    lab.silence(next, x);
    old.shard.consensus.transferTo(next.storeId);
    await lab.until("handed over", () => old.shard.consensus.leaderId === next.storeId);
    equal(x.shard.consensus.leaderId, old.storeId);
    const results = await create(lab, x, ["", "key"]);
    for (const i of [0, 1]) equal(results.error(i)?.code, "no_leader");
  });

  it("a read that is to be the leader's is as good as one, through any node", async () => {
    const lab = await Lab.founded(3, { forward: true });
    const leader = lab.leader() as LabNode;
    const [x] = lab.nodes.filter((node) => node !== leader) as [LabNode];
    const made = await create(lab, x, ["key"]);
    const states: string[] = [];
    const waitMs = 0;
    const id = made.ids.subarray(0, 16);
    lab.watch(
      Promise.all([
        x.router?.task("default", id, "leader"),
        x.router?.result("default", id, { waitMs, consistency: "leader" }).then(({ task }) => task),
      ]).then((views) => {
        for (const view of views) states.push(view?.state ?? "");
      }),
      () => undefined,
    );
    await lab.until("read", () => states.length === 2);
    deepEqual(states, ["ready", "ready"]);
  });

  it("nothing without routing: forward on a node that leads nothing; it names the leader", async () => {
    const lab = await Lab.founded(3);
    const leader = lab.leader() as LabNode;
    const [x] = lab.nodes.filter((node) => node !== leader) as [LabNode];
    await lab.until("it knows", () => x.shard.consensus.leaderId !== 0);
    const results = await create(lab, x, ["", "key"]);
    for (const i of [0, 1]) {
      equal(results.error(i)?.code, "not_leader");
      equal(results.error(i)?.leader?.leaderHttp, `http://${leader.name}`);
    }
    const held = claim(x, 1, 1_000);
    await lab.until("refused", () => held.value !== null);
    const outcome = held.value as ClaimOutcome;
    equal(outcome.kind === "failed" && outcome.error.code, "not_leader");
  });
});
