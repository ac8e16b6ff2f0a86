/** The only proposer of membership changes: what it adds to the rules of the core. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toStoreId } from "../../../src/base/brand.ts";
import type { ErrorCode } from "../../../src/base/errors.ts";
import { limits } from "../../../src/base/limits.ts";
import type { RaftConfig } from "../../../src/raft/types.ts";
import type { Member, Members } from "../../../src/shard/members.ts";
import { MembershipProposer } from "../../../src/shard/membership.ts";
import { at, flush, id, Lab, type Member as LabMember, lone, members } from "../../raft/lab.ts";

function memberAt(storeId: number): Member {
  const name = `n${storeId}`;
  return { storeId: toStoreId(storeId), nodeId: name, raft: `${name}:1`, http: "", grpc: "" };
}

/** A replica with its proposer; it serves when it leads and has committed in its term. */
class Proposing {
  readonly replica: LabMember;
  readonly proposer: MembershipProposer;
  found: Members;
  /** Codes of the calls that failed, `ok` for the others, in order of their ends. */
  readonly ends: string[] = [];

  constructor(replica: LabMember, found: Members) {
    this.replica = replica;
    this.found = found;
    this.proposer = new MembershipProposer({
      raft: replica.node,
      members: () => this.found,
      serves: () => this.serves(),
      proposed: () => undefined,
    });
    replica.applyChange = (entry) => {
      this.found = this.proposer.apply(entry);
      this.proposer.applied(entry);
    };
  }

  serves(): boolean {
    const { node, log } = this.replica;
    return node.role === "leader" && log.newest?.term === node.term;
  }

  watch(call: Promise<void>): void {
    call.then(
      () => this.ends.push("ok"),
      (error: { code: ErrorCode }) => this.ends.push(error.code),
    );
  }
}

/**
 * Lets everything go its way: whenever something was applied the proposer looks, as in a shard, and
 * has one more entry committed before a change counts as done.
 */
function settle(lab: Lab, group: Proposing): void {
  for (let i = 0; i < 3; i++) {
    lab.settle();
    group.proposer.look();
  }
}

/** All ends that are due are noted. */
async function noted(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}

/** `voters` of `size` belong; 1 leads and proposes. */
function led(
  size: number,
  voters: number,
  options: Partial<RaftConfig> = {},
): { lab: Lab; group: Proposing } {
  const lab = new Lab(size, options, voters);
  const found = Array.from({ length: voters }, (_, i) => memberAt(i + 1));
  const group = new Proposing(lab.at(1), found);
  lab.elect(1);
  settle(lab, group);
  return { lab, group };
}

/** Proposes what is due at a tick, and lets it take force. */
function promote(lab: Lab, group: Proposing): void {
  group.proposer.tick();
  settle(lab, group);
}

test("B35 errata: no change before the leader has committed an entry of its own term", async () => {
  const lab = new Lab(3, {}, 3);
  const group = new Proposing(lab.at(1), []);
  lab.isLost = (each) => each.kind === "append";
  lab.elect(1);
  assert.equal(lab.node(1).role, "leader");
  group.watch(group.proposer.add(memberAt(4)));
  await noted();
  assert.deepEqual(group.ends, ["no_leader"]);
  assert.equal(lab.node(1).lastIndex, 1, "nothing is logged");
  lab.heal();
  lab.tick(1, 1);
  settle(lab, group);
  group.watch(group.proposer.add(memberAt(4)));
  settle(lab, group);
  await noted();
  assert.deepEqual(group.ends, ["no_leader", "ok"]);
});

test("who does not lead proposes nothing", async () => {
  const lab = new Lab(3);
  lab.elect(1);
  const group = new Proposing(lab.at(2), [1, 2, 3].map(memberAt));
  group.watch(group.proposer.add(memberAt(4)));
  group.watch(group.proposer.remove(id(3)));
  group.proposer.tick();
  await noted();
  assert.deepEqual(group.ends, ["no_leader", "no_leader"]);
  assert.deepEqual(flush(lab.at(2)), []);
});

test("a new member is a learner, and its addresses are known to all from then on", async () => {
  const { lab, group } = led(4, 3);
  group.watch(group.proposer.add(memberAt(4)));
  assert.equal(group.found.length, 3, "not before the change is in force");
  settle(lab, group);
  await noted();
  assert.deepEqual(group.ends, ["ok"]);
  assert.deepEqual(lab.node(1).membership, members([1, 2, 3], [4]));
  assert.deepEqual(group.found, [1, 2, 3, 4].map(memberAt));
});

test("adding a member again renews its addresses and leaves what it is", async () => {
  const { lab, group } = led(3, 3);
  group.watch(group.proposer.add({ ...memberAt(2), raft: "elsewhere:1" }));
  settle(lab, group);
  await noted();
  assert.deepEqual(group.ends, ["ok"]);
  assert.deepEqual(lab.node(1).membership, members([1, 2, 3]));
  assert.equal(group.found.find(({ storeId }) => storeId === 2)?.raft, "elsewhere:1");
});

test("B36 one change at a time: the next is refused until the last is in force", async () => {
  const { lab, group } = led(5, 3);
  group.watch(group.proposer.add(memberAt(4)));
  assert.equal(group.proposer.isBusy(), true);
  group.watch(group.proposer.add(memberAt(5)));
  group.watch(group.proposer.remove(id(3)));
  await noted();
  assert.deepEqual(group.ends, ["overloaded", "overloaded"]);
  settle(lab, group);
  group.watch(group.proposer.add(memberAt(5)));
  settle(lab, group);
  await noted();
  assert.deepEqual(group.ends, ["overloaded", "overloaded", "ok", "ok"]);
});

test("from one to three it never passes two: learners become voters together", async () => {
  const { lab, group } = led(3, 1);
  for (const [own, voters] of [
    [2, [1]],
    [3, [1, 2, 3]],
  ] as const) {
    group.watch(group.proposer.add(memberAt(own)));
    settle(lab, group);
    lab.tick(1, 1);
    settle(lab, group);
    promote(lab, group);
    assert.deepEqual(lab.node(1).membership.voters, voters, `with ${own}`);
  }
  assert.deepEqual(lab.node(3).membership, members([1, 2, 3]));
  await noted();
  assert.deepEqual(group.ends, ["ok", "ok"]);
});

test("a learner waits while the number of voters would be even, and fills up one that is", async () => {
  const { lab, group } = led(5, 3);
  group.watch(group.proposer.add(memberAt(4)));
  settle(lab, group);
  promote(lab, group);
  assert.deepEqual(lab.node(1).membership, members([1, 2, 3], [4]), "three voters stay three");
  group.watch(group.proposer.remove(id(3)));
  settle(lab, group);
  assert.deepEqual(lab.node(1).membership, members([1, 2], [4]), "a removal may leave two");
  promote(lab, group);
  assert.deepEqual(lab.node(1).membership, members([1, 2, 4]));
  await noted();
  assert.deepEqual(group.ends, ["ok", "ok"]);
});

test("a change counts as done when an entry behind it is committed, and no sooner", async () => {
  const { lab, group } = led(4, 3);
  group.watch(group.proposer.add(memberAt(4)));
  lab.settle();
  await noted();
  assert.deepEqual(lab.node(1).membership, members([1, 2, 3], [4]), "in force");
  assert.deepEqual(group.ends, []);
  assert.equal(group.proposer.isBusy(), true);
  group.proposer.look();
  await noted();
  assert.deepEqual(group.ends, [], "proposed, not committed");
  assert.deepEqual(group.proposer.shown, members([1, 2, 3]), "nor told");
  lab.settle();
  group.proposer.look();
  await noted();
  assert.deepEqual(group.ends, ["ok"]);
  assert.equal(group.proposer.isBusy(), false);
  assert.deepEqual(group.proposer.shown, members([1, 2, 3], [4]));
});

test("a learner that is not heard is not made a voter, though it had caught up", () => {
  const { lab, group } = led(3, 1, { checkQuorum: true });
  for (const own of [2, 3]) {
    group.watch(group.proposer.add(memberAt(own)));
    settle(lab, group);
  }
  lab.isolate(3);
  for (let i = 0; i < 11; i++) {
    lab.tick(1, 1);
    settle(lab, group);
  }
  promote(lab, group);
  assert.deepEqual(lab.node(1).membership, members([1], [2, 3]));
  lab.heal();
  lab.tick(1, 1);
  settle(lab, group);
  promote(lab, group);
  assert.deepEqual(lab.node(1).membership, members([1, 2, 3]));
});

test("a learner that has not caught up is not made a voter", () => {
  const { lab, group } = led(3, 1);
  for (const own of [2, 3]) {
    group.watch(group.proposer.add(memberAt(own)));
    settle(lab, group);
  }
  lab.isolate(3);
  for (let i = 0; i <= limits.caughtUpEntries; i++) lab.propose(1, "x");
  promote(lab, group);
  assert.deepEqual(lab.node(1).membership, members([1], [2, 3]));
  lab.heal();
  for (let i = 0; i < 3; i++) {
    lab.tick(1, 1);
    settle(lab, group);
  }
  promote(lab, group);
  assert.deepEqual(lab.node(1).membership, members([1, 2, 3]));
});

test("a member is removed, with its addresses; an unknown one and the leader itself are not", async () => {
  const { lab, group } = led(3, 3);
  group.watch(group.proposer.remove(id(9)));
  group.watch(group.proposer.remove(id(1)));
  group.watch(group.proposer.remove(id(3)));
  settle(lab, group);
  await noted();
  assert.deepEqual(group.ends.sort(), ["invalid_argument", "not_found", "ok"]);
  assert.deepEqual(lab.node(2).membership, members([1, 2]));
  assert.deepEqual(group.found, [1, 2].map(memberAt));
});

test("who waits when leadership is lost learns that the outcome is unknown", async () => {
  const { lab, group } = led(3, 3);
  lab.isolate(1);
  group.watch(group.proposer.add(memberAt(4)));
  settle(lab, group);
  group.proposer.failAll();
  await noted();
  assert.deepEqual(group.ends, ["unknown_outcome"]);
});

test("a change of another leader at the same place is not taken for one's own", async () => {
  const { lab, group } = led(4, 3);
  lab.isolate(1);
  group.watch(group.proposer.add(memberAt(4)));
  settle(lab, group);
  lab.elect(2);
  const other = new Proposing(lab.at(2), [1, 2, 3].map(memberAt));
  settle(lab, other);
  lab.heal();
  // Its own log has entry 3 of term 2 there; the change is entry 5.
  other.watch(other.proposer.add(memberAt(4)));
  settle(lab, other);
  lab.tick(2, 1);
  settle(lab, other);
  await noted();
  assert.deepEqual(other.ends, ["ok"]);
  assert.deepEqual(lab.node(1).membership, members([1, 2, 3], [4]));
  assert.deepEqual(group.ends, [], "its own is still to be told of the loss");
  group.proposer.applied({
    index: at(3),
    term: lab.node(2).term,
    type: "confChangeV2",
    data: Buffer.alloc(0),
  });
  await noted();
  assert.deepEqual(group.ends, ["unknown_outcome"]);
});

test("the last voter is not removed", async () => {
  const group = new Proposing(lone(1, 1), [memberAt(1)]);
  group.replica.node.campaign();
  flush(group.replica);
  group.watch(group.proposer.remove(id(1)));
  await noted();
  assert.deepEqual(group.ends, ["invalid_argument"]);
  assert.deepEqual(group.replica.node.membership, members([1]));
});
