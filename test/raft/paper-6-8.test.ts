/**
 * Sections 6 (membership), 7 (snapshots, with figure 13) and 8 (clients) of the Raft paper. One thing
 * differs from section 6 on purpose: a change is in force when it is applied, not when it is logged.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ackFrom,
  appendTo,
  at,
  carryOut,
  change,
  entriesOf,
  flush,
  joint,
  Lab,
  lone,
  members,
  progressOf,
  snapshotTo,
  term,
  voteFor,
} from "./lab.ts";

/** Five, of which 1, 2, 3 belong to the group; 1 leads, and 4 and 5 are to replace 2 and 3. */
function inJointChange(): Lab {
  const lab = new Lab(5, {}, 3);
  lab.elect(1);
  lab.change(1, joint("v4 v5 r2 r3", "jointExplicit"));
  for (const { node } of lab.members) {
    assert.deepEqual(node.membership.voters, [1, 4, 5]);
    assert.deepEqual(node.membership.votersOutgoing, [1, 2, 3]);
  }
  return lab;
}

test("6 while a change is under way entries go to everybody of both sets", () => {
  const lab = inJointChange();
  lab.propose(1, "x");
  for (const member of lab.members) assert.deepEqual(member.applied, ["x"]);
});

test("6 while a change is under way any member of either set may lead", () => {
  for (const own of [2, 4]) {
    const lab = inJointChange();
    lab.elect(own);
    assert.equal(lab.node(own).role, "leader", `${own}`);
    lab.propose(own, "x");
    assert.deepEqual(lab.at(5).applied, ["x"]);
  }
});

test("6 while a change is under way an entry needs a majority of the old and of the new set", () => {
  for (const { gone, isCommitted } of [
    { gone: [2, 3], isCommitted: false },
    { gone: [4, 5], isCommitted: false },
    { gone: [3, 5], isCommitted: true },
  ]) {
    const lab = inJointChange();
    const before = lab.node(1).commitIndex;
    lab.isolate(...gone);
    lab.propose(1, "x");
    assert.equal(lab.node(1).commitIndex > before, isCommitted, `without ${gone}`);
  }
});

test("6 while a change is under way a leader needs a majority of the old and of the new set", () => {
  for (const { gone, role } of [
    { gone: [2, 3], role: "candidate" },
    { gone: [4, 5], role: "candidate" },
    { gone: [3, 5], role: "leader" },
  ] as const) {
    const lab = inJointChange();
    lab.node(1).step(voteFor(2, 1, { term: term(9) }));
    lab.isolate(...gone);
    lab.elect(1);
    assert.equal(lab.node(1).role, role, `without ${gone}`);
  }
});

test("6 once both sets are in force the leader logs the new set, which then decides alone", () => {
  const lab = new Lab(5, {}, 3);
  lab.elect(1);
  lab.change(1, joint("v4 v5 r2 r3"));
  for (const own of [1, 4, 5]) {
    assert.deepEqual(lab.node(own).membership, members([1, 4, 5]), `${own}`);
  }
  lab.isolate(2, 3);
  lab.propose(1, "x");
  assert.deepEqual(lab.at(5).applied, ["x"]);
});

test("6 a new server gets the log before it counts: as a learner it is in no majority", () => {
  const lab = new Lab(4, {}, 3);
  lab.elect(1);
  lab.propose(1, "x");
  lab.change(1, change("addLearner", 4));
  assert.deepEqual(lab.at(4).applied, ["x"]);
  const before = lab.node(1).commitIndex;
  lab.isolate(2, 3);
  lab.propose(1, "y");
  assert.equal(lab.at(4).log.lastIndex(), lab.node(1).lastIndex);
  assert.equal(lab.node(1).commitIndex, before, "the learner's copy does not count");
});

test("6 a leader outside the new set manages it without counting itself, and then steps down", () => {
  const lab = new Lab(3, { stepDownOnRemoval: true });
  lab.elect(1);
  lab.isLost = (each) => each.kind === "append" && each.commit > 1;
  lab.change(1, change("remove", 1));
  assert.deepEqual([lab.node(1).role, lab.node(1).membership.voters], ["follower", [2, 3]]);
});

test("6 a removed server cannot disturb those who hear a leader", () => {
  const lab = new Lab(3, { checkQuorum: true });
  lab.elect(1);
  lab.isLost = (each) => each.to === 3;
  lab.change(1, change("remove", 3));
  assert.deepEqual(lab.node(3).membership.voters, [1, 2, 3], "it has not heard of it");
  for (let i = 0; i < 40; i++) {
    lab.tick(3, 1);
    lab.tick(1, 1);
    lab.settle();
  }
  assert.ok(lab.node(3).term > 3);
  assert.deepEqual([lab.node(1).role, lab.node(1).term, lab.node(2).term], ["leader", 1, 1]);
});

test("7 each server drops what it has applied by itself, and goes on from there", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.propose(1, "a");
  lab.at(1).log.compact(at(2));
  assert.deepEqual([lab.at(1).log.firstIndex(), lab.at(2).log.firstIndex()], [3, 1]);
  lab.node(1).propose(Buffer.from("b"));
  const [append] = flush(lab.at(1));
  assert(append?.kind === "append");
  assert.deepEqual([append.prevIndex, append.prevTerm], [2, 1], "known of what is dropped");
});

test("7 a snapshot is named by its last index and term and brings the membership with it", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.change(1, change("addLearner", 3));
  assert.deepEqual(lab.at(1).log.newest, { index: 2, term: 1, membership: members([1, 2], [3]) });
});

test("7 a follower that needs what the leader has dropped gets a snapshot, and then the rest", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(3);
  lab.propose(1, "a");
  lab.at(1).log.compact(at(2));
  lab.heal();
  lab.tick(1, 1);
  for (const message of flush(lab.at(1))) lab.node(message.to).step(message);
  for (const message of flush(lab.at(3))) lab.node(1).step(message);
  const sent = flush(lab.at(1)).find((each) => each.kind === "append");
  assert(sent?.kind === "append" && sent.prevIndex === 2, "first a probe");
  lab.node(1).step(ackFrom(3, lab.at(1), 2, { reject: true, hintIndex: at(1), hintTerm: term(1) }));
  const [snapshot] = flush(lab.at(1));
  assert(snapshot?.kind === "snapshot" && snapshot.to === 3);
  assert.equal(snapshot.snapshot.index, 2);
  assert.equal(progressOf(lab.at(1), 3).state, "snapshot");
  lab.node(1).propose(Buffer.from("b"));
  lab.node(3).step(snapshot);
  lab.settle();
  assert.deepEqual([lab.at(3).log.firstIndex(), lab.at(3).log.lastIndex()], [3, 3]);
  assert.deepEqual(lab.at(3).applied, ["b"]);
});

test("figure 13, 1: a snapshot of an earlier term is refused", () => {
  const member = lone(2, 3, [1, 3]);
  member.node.step(snapshotTo(2, 9, 2, [1, 2, 3]));
  assert.deepEqual([member.node.hasReady(), member.node.lastIndex], [false, 2]);
});

test("figure 13, 5: an older snapshot than what is committed is dropped", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1]), commit: at(3) }));
  flush(member);
  member.node.step(snapshotTo(2, 2, 1, [1, 2, 3]));
  const ready = carryOut(member);
  assert.equal(ready.snapshot, null);
  assert.deepEqual([member.node.lastIndex, member.node.appliedIndex], [3, 3]);
});

test("figure 13, 6: a log that has the snapshot's last entry keeps it and what follows", () => {
  const member = lone(2, 3, [1, 1, 1, 1]);
  member.node.step(snapshotTo(2, 2, 1, [1, 2, 3]));
  const ready = carryOut(member);
  assert.equal(ready.snapshot, null);
  const [answer] = ready.messages;
  assert(answer?.kind === "appendResponse" && answer.index === 2);
  assert.deepEqual([member.node.lastIndex, member.node.commitIndex], [4, 2]);
});

test("figure 13, 7: any other log is dropped as a whole", () => {
  for (const have of [[1], [1, 1, 1, 1]]) {
    const member = lone(2, 3, have);
    member.node.step(snapshotTo(2, 3, 2, [1, 2, 3]));
    assert.equal(carryOut(member).snapshot?.index, 3);
    assert.deepEqual([member.log.firstIndex(), member.log.lastIndex()], [4, 3]);
  }
});

test("figure 13, 8: the snapshot's state and membership are in force when it is installed", () => {
  const member = lone(2, 3, [], { asyncStorageWrites: true });
  member.node.step(snapshotTo(2, 3, 2, [1, 2, 4, 5]));
  const [write] = member.node.ready().messages;
  assert(write?.kind === "storageAppend" && write.snapshot?.index === 3);
  assert.deepEqual(member.node.membership.voters, [1, 2, 3], "not before");
  member.log.applySnapshot(write.snapshot);
  for (const response of write.responses) if (response.to === 2) member.node.step(response);
  assert.deepEqual(member.node.membership.voters, [1, 2, 4, 5]);
  assert.deepEqual([member.node.appliedIndex, member.node.commitIndex], [3, 3]);
});

test("8 who does not lead takes no command, and knows who does", () => {
  const lab = new Lab(3, { disableProposalForwarding: true });
  lab.elect(1);
  assert.equal(lab.node(2).propose(Buffer.from("x")).kind, "dropped");
  assert.equal(lab.node(2).leaderId, 1);
  const forwarding = new Lab(3);
  forwarding.elect(1);
  assert.deepEqual(forwarding.node(2).propose(Buffer.from("x")), { kind: "forwarded", to: 1 });
  forwarding.settle();
  assert.deepEqual(forwarding.at(3).applied, ["x"]);
});

test("8 a new leader commits an entry without content, to learn what is committed", () => {
  const lab = new Lab([[1, 1], [1, 1], []]);
  lab.elect(1);
  const [entry] = lab.at(2).log.entries(at(3), at(4), 100);
  assert.deepEqual([entry?.term, entry?.type, entry?.data.length], [2, "normal", 0]);
  assert.equal(lab.node(1).commitIndex, 3);
});

test("8 a leader reads only after a round of heartbeats with a majority", () => {
  const lab = new Lab(5);
  lab.elect(1);
  lab.isolate(3, 4, 5);
  lab.node(1).readIndex(1);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, [], "two of five");
  lab.isolate(4, 5);
  lab.tick(1, 1);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, [{ requestId: 1, index: 1 }], "three of five");
});

test("8 with a lease of its heartbeats a leader reads without asking", () => {
  const lab = new Lab(3, { checkQuorum: true, readOnly: "lease" });
  lab.elect(1);
  lab.node(1).readIndex(1);
  assert.deepEqual(flush(lab.at(1)), []);
  assert.deepEqual(lab.at(1).reads, [{ requestId: 1, index: 1 }]);
  assert.throws(() => lone(1, 3, [], { readOnly: "lease" }), "without the check there is no lease");
});

test("8 the answer to a read of a follower comes from its leader", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.propose(1, "a");
  assert.equal(lab.node(2).readIndex(4), true);
  lab.settle();
  assert.deepEqual([lab.at(2).reads, lab.at(1).reads], [[{ requestId: 4, index: 2 }], []]);
  assert.equal(lone(2, 3).node.readIndex(5), false, "no leader, no answer");
});
