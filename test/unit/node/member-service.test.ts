import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cluster } from "../../../src/node/cluster.ts";
import { MemberService } from "../../../src/node/member-service.ts";
import type { ClusterView } from "../../../src/router/shard-routes.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { MachineClock, ProcessTime, VirtualTime } from "../../sim/clock.ts";

const address = { nodeId: "n2", raft: "n2", http: "", grpc: "" };

test("a node without replicas does not say of a member that there is none", async () => {
  const time = new ProcessTime(new MachineClock(new VirtualTime(), 0, 1));
  const service = new MemberService({
    cluster: {
      members: () => [],
      self: { ...address, nodeId: "n1", storeId: 1 },
    } as never as Cluster,
    view: {} as ClusterView,
    shards: [null, null],
    clock: time,
    timers: time,
  });
  const asked = [
    () => service.remove("n2"),
    () => service.add(address),
    () => service.transfer(null, "n2"),
    () => service.transfer(0, null),
  ];
  for (const ask of asked) await assert.rejects(ask, { code: "no_leader" });
});

test("a voter is one of every shard; who is in some only, or yet to become one, is a learner", () => {
  const storeIds = { 1: "n1", 2: "n2", 3: "n3", 4: "n4" };
  const members = Object.entries(storeIds).map(([id, nodeId]) => ({ storeId: Number(id), nodeId }));
  const shard = (voters: readonly number[], learners: readonly number[]) =>
    ({ consensus: { members, settledMembers: () => ({ voters, learners }) } }) as never as Shard;
  const service = new MemberService({
    cluster: { self: { nodeId: "n1", storeId: 1 } } as never as Cluster,
    shards: [shard([1, 2, 3], []), null, shard([1, 3], [2, 4])],
  } as never);
  assert.deepEqual(service.membership(), { voters: ["n1", "n3"], learners: ["n2", "n4"] });
});

const electionMs = 300;

/** n1, which leads shard 0, with what its group makes of a hand-over to n2. */
function leading(change: { connected?: boolean; silent?: boolean; after?: () => void } = {}) {
  const { connected = true, silent = false } = change;
  const virtual = new VirtualTime();
  const time = new ProcessTime(new MachineClock(virtual, 0, 1));
  const raft = { id: 1, term: 5, transferee: 0, membership: { voters: [1, 2, 3], learners: [] } };
  const asked: number[] = [];
  const shard = {
    id: 0,
    leads: true,
    consensus: {
      ...{ raft, electionMs, members: [], leaderId: 1 },
      isSilent: () => silent,
      settledMembers: () => ({ voters: [1, 2, 3], learners: [] }),
      transferTo(id: number) {
        asked.push(id);
        raft.transferee = id;
        time.after(electionMs, () => {
          raft.transferee = 0;
        });
      },
    },
  };
  const member = (id: number) => ({ ...address, nodeId: `n${id}`, storeId: id });
  shard.consensus.members = [2, 3].map(member) as never;
  const service = new MemberService({
    cluster: {
      ...{ self: member(1), members: () => [2, 3].map(member), isConnected: () => connected },
    } as never as Cluster,
    view: {} as ClusterView,
    shards: [shard as never as Shard],
    clock: time,
    timers: time,
  });
  /** The leader of a later term, after so many ms. */
  function elect(id: number, afterMs: number): void {
    time.after(afterMs, () => {
      shard.leads = false;
      shard.consensus.leaderId = id;
      raft.term++;
    });
  }
  async function outcome() {
    let told: { readonly error?: { code: string; message: string } } | null = null;
    service.transfer(null, "n2").then(
      () => {
        told = {};
      },
      (error) => {
        told = { error };
      },
    );
    // Something must come for the run to look at what was told at once.
    time.soon(() => undefined);
    await virtual.run(() => told !== null);
    return {
      ...(told as { error?: { code: string; message: string } } | null),
      ms: time.monotonicMs(),
    };
  }
  return { asked, elect, outcome };
}

test("leadership that the target takes is handed over, late too", async () => {
  for (const afterMs of [20, electionMs + 100]) {
    const { elect, outcome, asked } = leading();
    elect(2, afterMs);
    const { error, ms } = await outcome();
    assert.equal(error, undefined);
    assert.deepEqual(asked, [2]);
    assert.ok(ms <= afterMs + 100, `${ms} ms`);
  }
});

test("a target that is not connected, or silent, is refused before anything is tried", async () => {
  for (const change of [{ connected: false }, { silent: true }]) {
    const { asked, outcome } = leading(change);
    const { error, ms } = await outcome();
    assert.equal(error?.code, "invalid_argument");
    assert.match(error?.message ?? "", /n2 cannot be reached; n1 leads shard 0/);
    assert.deepEqual([asked, ms], [[], 0]);
  }
});

test("a target that does not take over: told two election timeouts later, with who leads", async () => {
  const { outcome } = leading();
  const { error, ms } = await outcome();
  assert.equal(error?.code, "timeout");
  assert.match(error?.message ?? "", /n2 did not take over; n1 leads shard 0/);
  assert.ok(ms >= 2 * electionMs && ms <= 2 * electionMs + 100, `${ms} ms`);
});

test("another one is elected in the target's place: told at once, with who leads", async () => {
  const { elect, outcome } = leading();
  elect(3, 200);
  const { error, ms } = await outcome();
  assert.equal(error?.code, "timeout");
  assert.match(error?.message ?? "", /n2 did not take over; n3 leads shard 0/);
  assert.ok(ms <= 300, `${ms} ms`);
});
