/** A shard with several replicas: writes, failover, reads, a member that needs the whole state. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, it } from "node:test";
import type { LogIndex, Term } from "../../src/base/brand.ts";
import type { CreateResults } from "../../src/router/router.ts";
import { StorageError } from "../../src/storage/kv.ts";
import { Lab, type LabNode } from "./lab.ts";

function create(node: LabNode, count: number, size = 10): { results: CreateResults | null } {
  const batch = node.router?.createBatch("default");
  const held: { results: CreateResults | null } = { results: null };
  const task = { queue: "q", priority: 0, maxAttempts: 5, delayMs: 0, runAtMs: 0 };
  for (let i = 0; i < count; i++) {
    batch?.add({ ...task, extras: null, idempotencyKey: null }, Buffer.alloc(size, 97), 0, size);
  }
  batch?.send(null, (results) => {
    held.results = results;
  });
  return held;
}

function ready(node: LabNode): number {
  let sum = 0;
  for (const queue of node.shard.state.queues.values()) sum += queue.readyTotal;
  return sum;
}

async function created(lab: Lab, node: LabNode, count: number, size = 10): Promise<void> {
  const held = create(node, count, size);
  await lab.until("created", () => held.results !== null);
  deepEqual([...(held.results as CreateResults).codes], new Array(count).fill(0));
}

describe("a group of replicas", () => {
  it("has what was acknowledged on every replica", async () => {
    const lab = await Lab.founded(3);
    await created(lab, lab.leader() as LabNode, 100);
    await lab.until("all apply it", () => lab.nodes.every((node) => ready(node) === 100));
  });

  it("goes on without its leader, with the whole backlog, well within a second", async () => {
    const lab = await Lab.founded(3);
    const old = lab.leader() as LabNode;
    await created(lab, old, 50);
    old.crash();
    const since = lab.time.nowUs;
    await lab.until("another leader", () => lab.leader() !== undefined, 500);
    ok(lab.time.nowUs - since < 300_000, `${lab.time.nowUs - since} µs`);
    equal(ready(lab.leader() as LabNode), 50);
    await created(lab, lab.leader() as LabNode, 7);
  });

  it("brings a replica that was down up to date", async () => {
    const lab = await Lab.founded(3);
    const leader = lab.leader() as LabNode;
    const down = lab.nodes.find((node) => node !== leader) as LabNode;
    down.crash();
    await created(lab, leader, 20);
    let back = false;
    lab.start(down, lab.members(), () => {
      back = true;
    });
    await lab.until("it is back", () => back && ready(down) === 20);
  });

  it("reads what was acknowledged before, on a follower too", async () => {
    const lab = await Lab.founded(3);
    const leader = lab.leader() as LabNode;
    const follower = lab.nodes.find((node) => node !== leader) as LabNode;
    await created(lab, leader, 5);
    let seen = -1;
    lab.watch(follower.shard.consensus.readBarrier(), () => {
      seen = ready(follower);
    });
    await lab.until("the read", () => seen >= 0);
    equal(seen, 5);
  });

  it("hands leadership over when asked", async () => {
    const lab = await Lab.founded(3);
    const old = lab.leader() as LabNode;
    const next = lab.nodes.find((node) => node !== old) as LabNode;
    old.shard.consensus.transferTo(next.storeId);
    await lab.until("the other leads", () => next.shard.leads, 200);
    await created(lab, next, 3);
  });

  it("grows from one to three, the new ones by snapshot, never by way of two", async () => {
    const lab = await Lab.founded(1);
    const first = lab.nodes[0] as LabNode;
    await created(lab, first, 200, 1000);
    await lab.until("a checkpoint", () => (first.shard.consensus.savedPoint?.index ?? 0) > 2);
    const voterCounts = new Set<number>();
    await addMembers(lab, first, 2);
    await lab.until("three voters", () => {
      const { voters, votersOutgoing } = first.shard.consensus.raft.membership;
      voterCounts.add(voters.length);
      return voters.length === 3 && votersOutgoing.length === 0;
    });
    deepEqual([...voterCounts], [1, 3]);
    await lab.until("all have it", () => lab.nodes.every((node) => ready(node) === 200));
    ok((lab.nodes[1] as LabNode).replacements > 0, "by snapshot");
    equal((lab.nodes[2] as LabNode).shard.consensus.members.length, 3);
    first.crash();
    await lab.until("another leader", () => lab.leader() !== undefined);
    equal(ready(lab.leader() as LabNode), 200);
  });

  it("does not start anew after a vote that could not be written meanwhile", async () => {
    const lab = await Lab.founded(3);
    const until = lab.time.nowUs + 2_000_000;
    await lab.until("nothing is written", () => lab.time.nowUs > until);
    const follower = lab.nodes.find((node) => node !== lab.leader()) as LabNode;
    const { shard, disk } = follower;
    const { id: to, leaderId: from, term } = shard.consensus.raft;
    const beat = { kind: "heartbeat", from, to, commit: 0 as LogIndex, readRound: 0 } as const;
    disk.failingSyncs = 1;
    const message = { ...beat, term: (term + 1) as Term };
    shard.consensus.receive({ message, timeMs: shard.now(), keptFrom: 1 });
    let failure: unknown = null;
    shard.abandon().catch((error: unknown) => {
      failure = error;
    });
    await lab.until("it fails", () => failure !== null);
    ok(failure instanceof StorageError && failure.code === "io", String(failure));
  });

  it("gives a new member the state of a group that nothing was ever asked of", async () => {
    const lab = await Lab.founded(1);
    const first = lab.nodes[0] as LabNode;
    await addMembers(lab, first, 2);
    await lab.until(
      "three voters",
      () => first.shard.consensus.raft.membership.voters.length === 3,
    );
  });

  it("goes on without its founder when all others restart as soon as they are voters", async () => {
    const lab = await Lab.founded(1);
    const first = lab.nodes[0] as LabNode;
    await addMembers(lab, first, 2);
    const { membership, raft } = first.shard.consensus;
    await lab.until(
      "three voters",
      () => raft.membership.voters.length === 3 && !membership.isBusy(),
    );
    for (const node of lab.nodes) node.crash();
    let started = 0;
    for (const node of lab.nodes.slice(1)) lab.start(node, null, () => started++);
    await lab.until("they start", () => started === 2);
    await lab.until("one of them leads", () => lab.leader() !== undefined);
  });
});

/** Adds nodes as learners, one after the other. */
async function addMembers(lab: Lab, leader: LabNode, count: number): Promise<void> {
  const { membership } = leader.shard.consensus;
  for (let i = 0; i < count; i++) {
    const node = lab.add();
    let started = false;
    lab.start(node, null, () => {
      started = true;
    });
    await lab.until("it starts", () => started);
    const member = lab.members().find(({ storeId }) => storeId === node.storeId);
    let added = false;
    lab.watch(membership.add(member as NonNullable<typeof member>), () => {
      added = true;
    });
    await lab.until("it is a learner", () => added);
  }
}
