/**
 * Bugs that other Raft implementations had, each as the smallest situation that shows it. Numbers
 * are rows of the project's bug catalogue.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError } from "../../../src/base/assert.ts";
import type { StoreId } from "../../../src/base/brand.ts";
import { limits } from "../../../src/base/limits.ts";
import { createRaftNode } from "../../../src/raft/raft.ts";
import {
  type ConfChange,
  LOCAL_APPEND,
  type MemberChangeType,
  type Membership,
  type Message,
} from "../../../src/raft/types.ts";
import {
  appendTo,
  at,
  carryOut,
  entriesOf,
  flush,
  id,
  Lab,
  lone,
  type Member,
  term,
  voteFor,
} from "../../raft/lab.ts";

function change(type: MemberChangeType, ...ids: number[]): ConfChange {
  const changes = ids.map((each) => ({ type, id: id(each) }));
  return { kind: "v2", transition: "auto", changes, context: Buffer.alloc(0) };
}

function members(voters: number[], learners: number[] = []): Membership {
  return {
    voters: voters as StoreId[],
    votersOutgoing: [],
    learners: learners as StoreId[],
    learnersNext: [],
    autoLeave: false,
  };
}

function snapshotTo(to: number, index: number, inTerm: number, voters: number[]): Message {
  const snapshot = { index: at(index), term: term(inTerm), membership: members(voters) };
  return { kind: "snapshot", from: id(1), to: id(to), term: term(inTerm), snapshot };
}

/** Answers as if `from` had written up to `index`. */
function ackFrom(from: number, member: Member, index: number): Message {
  return {
    kind: "appendResponse",
    from: id(from),
    to: member.node.id,
    term: member.node.term,
    index: at(index),
    reject: false,
    hintIndex: at(0),
    hintTerm: term(0),
  };
}

function progressOf(member: Member, of: number) {
  const found = member.node.status().progress.find((each) => each.id === of);
  assert(found !== undefined);
  return found;
}

test("B1 a vote and an acknowledgement wait for the disk", () => {
  const member = lone(2, 3, [], { asyncStorageWrites: true });
  member.node.step(voteFor(1, 2, {}));
  const [write, ...more] = member.node.ready().messages;
  assert(write?.kind === "storageAppend" && more.length === 0);
  assert.deepEqual([write.hardState?.vote, write.mustSync], [1, true]);
  assert.deepEqual(
    write.responses.map((each) => each.kind),
    ["voteResponse"],
  );
  member.node.step(appendTo(2, { entries: entriesOf([1]) }));
  const [append, ...others] = member.node.ready().messages;
  assert(append?.kind === "storageAppend" && others.length === 0);
  assert.equal(append.responses[0]?.kind, "appendResponse");
});

test("B3 after a restart the vote of the term is still given", () => {
  const lab = new Lab(3);
  lab.node(3).step(voteFor(1, 3, {}));
  flush(lab.at(3));
  lab.restart(3);
  lab.node(3).step(voteFor(2, 3, {}));
  const [answer] = flush(lab.at(3));
  assert(answer?.kind === "voteResponse" && answer.reject);
});

test("B4 a pre-vote changes nothing at its receiver", () => {
  const member = lone(2, 3, [1]);
  const ask = { term: term(9), lastIndex: at(1), lastTerm: term(1) };
  member.node.step(voteFor(1, 2, { ...ask, kind: "preVote" }));
  const ready = carryOut(member);
  assert.equal(ready.hardState, null);
  const [answer] = ready.messages;
  assert(answer?.kind === "preVoteResponse" && !answer.reject);
  // Asked by another for the same term, it says yes again: nothing was given away.
  member.node.step(voteFor(3, 2, { ...ask, kind: "preVote" }));
  const [again] = flush(member);
  assert(again?.kind === "preVoteResponse" && !again.reject);
});

test("B4 a pre-vote is granted for a later term even where this term's vote is given", () => {
  const member = lone(2, 3, [1]);
  const log = { lastIndex: at(1), lastTerm: term(1) };
  member.node.step(voteFor(1, 2, { ...log, term: term(2) }));
  member.node.step(voteFor(3, 2, { ...log, term: term(3), kind: "preVote" }));
  assert.deepEqual(
    flush(member).map((each) => [each.kind, "reject" in each && each.reject]),
    [
      ["voteResponse", false],
      ["preVoteResponse", false],
    ],
  );
});

test("B5 an isolated replica with pre-vote does not depose the leader when it returns", () => {
  const lab = new Lab(3, { preVote: true, checkQuorum: true });
  lab.elect(1);
  lab.isolate(3);
  lab.tick(3, 300);
  lab.settle();
  assert.equal(lab.node(3).term, 1);
  lab.heal();
  lab.tick(3, 10);
  lab.settle();
  assert.deepEqual([lab.node(1).role, lab.node(1).term], ["leader", 1]);
});

test("B7 a leader that hears no quorum steps down within two checks", () => {
  const lab = new Lab(3, { checkQuorum: true });
  lab.elect(1);
  lab.isolate(1);
  lab.tick(1, 20);
  assert.equal(lab.node(1).role, "follower");
});

test("B8 a heartbeat of an old term does not hold an election back", () => {
  const member = lone(2, 3, [3]);
  for (let i = 0; i < 10; i++) {
    member.node.tick();
    member.node.step({
      kind: "heartbeat",
      from: id(1),
      to: id(2),
      term: term(2),
      commit: at(0),
      readRound: 0,
    });
  }
  assert.equal(member.node.role, "candidate");
});

test("B9 a repeated vote request gets the vote again", () => {
  const member = lone(2, 3);
  for (let i = 0; i < 2; i++) {
    member.node.step(voteFor(1, 2, {}));
    const [answer] = flush(member);
    assert(answer?.kind === "voteResponse" && !answer.reject);
  }
});

test("B10 a learner and a removed replica never campaign", () => {
  for (const membership of [members([1, 2], [3]), members([1, 2])]) {
    const member = lone(3, 3);
    member.log.membership = membership;
    const node = createRaftNode(member.config);
    for (let i = 0; i < 50; i++) node.tick();
    node.campaign();
    assert.deepEqual([node.role, node.term], ["follower", 0]);
  }
});

test("B12 a leader that restarts is a follower without leader", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.restart(1);
  assert.deepEqual([lab.node(1).role, lab.node(1).term], ["follower", 1]);
  assert.equal(lab.node(1).leaderId, 0);
});

test("B14 a late append rewrites nothing that is there already", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1]) }));
  flush(member);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1]) }));
  assert.deepEqual(carryOut(member).entries, []);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1, 1]) }));
  assert.deepEqual(
    carryOut(member).entries.map((entry) => entry.index),
    [4],
  );
});

test("B15 an append commits only what it vouches for", () => {
  const member = lone(2, 3, [1, 1]);
  member.node.step(appendTo(2, { entries: entriesOf([1]), commit: at(2) }));
  assert.equal(member.node.commitIndex, 1);
});

test("B15 a heartbeat never tells a follower to commit past what it is known to have", () => {
  const lab = new Lab([[1, 1], [1, 1], []]);
  lab.isolate(3);
  lab.elect(1);
  assert.equal(lab.node(1).commitIndex, 3);
  lab.tick(1, 1);
  const commits = flush(lab.at(1)).map((each) => each.kind === "heartbeat" && each.commit);
  assert.deepEqual(commits, [3, 0]);
});

test("B17 an append from before the compaction is answered with the commit index", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1]), commit: at(3) }));
  flush(member);
  member.log.compact(at(3));
  member.node.step(appendTo(2, { entries: entriesOf([1]), commit: at(1) }));
  const [answer] = flush(member);
  assert(answer?.kind === "appendResponse");
  assert.deepEqual([answer.reject, answer.index], [false, 3]);
  assert.equal(member.log.lastIndex(), 3);
});

test("B19 a leader counts its own copy only when it is durable", () => {
  const member = lone(1, 1, [], { asyncStorageWrites: true });
  member.node.campaign();
  const vote = member.node.ready().messages[0];
  assert(vote?.kind === "storageAppend");
  for (const each of vote.responses) member.node.step(each);
  assert.deepEqual(member.node.propose(Buffer.from("x")), { kind: "accepted", index: 2, term: 1 });
  const write = member.node.ready().messages[0];
  assert(write?.kind === "storageAppend" && write.entries.length === 2);
  assert.deepEqual([member.node.commitIndex, member.node.hasReady()], [0, false]);
  member.log.append(write.entries);
  for (const each of write.responses) member.node.step(each);
  assert.equal(member.node.commitIndex, 2);
  const apply = member.node.ready().messages.find((each) => each.kind === "storageApply");
  assert(apply?.kind === "storageApply");
  assert.deepEqual(
    apply.entries.map((entry) => entry.data.toString()),
    ["", "x"],
  );
  for (const each of apply.responses) member.node.step(each);
  assert.equal(member.node.appliedIndex, 2);
});

test("B22 a rejection moves next to match + 1 at the lowest; an old one moves nothing", () => {
  const lab = new Lab(3);
  lab.elect(1);
  for (const text of ["a", "b", "c"]) lab.propose(1, text);
  const leader = lab.at(1);
  leader.node.propose(Buffer.from("d"));
  flush(leader);
  const reject = (index: number): Message => ({
    ...(ackFrom(2, leader, index) as Extract<Message, { kind: "appendResponse" }>),
    reject: true,
  });
  leader.node.step(reject(2));
  assert.deepEqual([progressOf(leader, 2).state, progressOf(leader, 2).next], ["replicate", 6]);
  for (const text of ["e", "f"]) leader.node.propose(Buffer.from(text));
  leader.node.step(reject(7));
  assert.deepEqual([progressOf(leader, 2).state, progressOf(leader, 2).next], ["probe", 5]);
  assert.equal(progressOf(leader, 2).match, 4);
});

test("B23 what is uncommitted is bounded, and one proposal always fits", () => {
  const lab = new Lab(3, { maxUncommittedSize: 10 });
  lab.elect(1);
  lab.isolate(1);
  assert.equal(lab.node(1).propose(Buffer.alloc(50)).kind, "accepted");
  assert.equal(lab.node(1).propose(Buffer.alloc(1)).kind, "dropped");
  lab.heal();
  lab.tick(1, 1);
  lab.settle();
  assert.equal(lab.node(1).propose(Buffer.alloc(1)).kind, "accepted");
});

test("B24 a snapshot at or below the commit index changes nothing", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1]), commit: at(2) }));
  flush(member);
  member.node.step(snapshotTo(2, 2, 1, [1, 2, 3]));
  const ready = carryOut(member);
  assert.deepEqual([ready.snapshot, member.node.lastIndex], [null, 3]);
  const [answer] = ready.messages;
  assert(answer?.kind === "appendResponse" && answer.index === 2 && !answer.reject);
});

test("B24 neither does one from before the compaction, nor the news that an old one is installed", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1]), commit: at(3) }));
  flush(member);
  member.log.compact(at(3));
  const old = snapshotTo(2, 2, 1, [2]);
  assert(old.kind === "snapshot");
  member.node.step(old);
  assert.equal(carryOut(member).snapshot, null);
  const { snapshot } = old;
  member.node.step({
    kind: "storageAppendResponse",
    from: LOCAL_APPEND,
    to: id(2),
    term: term(1),
    index: at(0),
    logTerm: term(0),
    snapshot,
  });
  assert.deepEqual(member.node.membership.voters, [1, 2, 3]);
  assert.deepEqual([member.node.appliedIndex, member.node.lastIndex], [3, 3]);
});

test("B25 a snapshot over a log that differs there replaces the log; B27 its repeat is nothing", () => {
  const member = lone(2, 3, [1, 1, 1, 1]);
  member.node.step(snapshotTo(2, 3, 2, [1, 2, 3]));
  assert.equal(carryOut(member).snapshot?.index, 3);
  assert.deepEqual([member.node.lastIndex, member.node.commitIndex], [3, 3]);
  member.node.step(snapshotTo(2, 3, 2, [1, 2, 3]));
  const again = carryOut(member);
  assert.equal(again.snapshot, null);
  const [answer] = again.messages;
  assert(answer?.kind === "appendResponse" && answer.index === 3);
});

test("B28 a snapshot that failed is sent again after the next heartbeat", () => {
  const lab = new Lab(3);
  lab.isolate(3);
  lab.elect(1);
  lab.propose(1, "a");
  lab.at(1).log.compact(at(2));
  lab.heal();
  const sent = (): number => lab.wire.filter((each) => each.kind === "snapshot").length;
  const beat = (): void => {
    lab.tick(1, 1);
    for (let i = 0; i < 4; i++) {
      for (const member of lab.members) lab.wire.push(...flush(member));
      const snapshots = lab.wire.filter((each) => each.kind === "snapshot");
      for (const each of lab.wire) if (each.kind !== "snapshot") lab.node(each.to).step(each);
      lab.wire = snapshots;
    }
  };
  beat();
  assert.equal(sent(), 1);
  beat();
  assert.equal(sent(), 1, "one under way is enough");
  lab.node(1).reportSnapshot(id(3), false);
  beat();
  beat();
  assert.equal(sent(), 2);
});

test("B35 B36 one membership change at a time, and none before it is applied", () => {
  const lab = new Lab(3);
  lab.elect(1);
  assert.equal(lab.node(1).proposeConfChange(change("addVoter", 4)).kind, "accepted");
  assert.equal(lab.node(1).proposeConfChange(change("remove", 2)).kind, "refused");
  lab.settle();
  assert.deepEqual(lab.node(3).membership.voters, [1, 2, 3, 4]);
  assert.equal(lab.node(1).proposeConfChange(change("remove", 4)).kind, "accepted");
});

test("B36 a new leader refuses changes until what may be in its log is applied", () => {
  const member = lone(1, 1, [], { asyncStorageWrites: true });
  member.node.campaign();
  const vote = member.node.ready().messages[0];
  assert(vote?.kind === "storageAppend");
  for (const each of vote.responses) member.node.step(each);
  assert.equal(member.node.proposeConfChange(change("addVoter", 2)).kind, "accepted");
  assert.equal(member.node.proposeConfChange(change("addLearner", 3)).kind, "refused");
});

test("B37 a change whose entry is truncated leaves no trace", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(1);
  assert.equal(lab.node(1).proposeConfChange(change("remove", 3)).kind, "accepted");
  lab.settle();
  lab.elect(2);
  lab.heal();
  lab.tick(2, 1);
  lab.settle();
  for (const member of lab.members) assert.deepEqual(member.node.membership.voters, [1, 2, 3]);
  assert.deepEqual(lab.terms(1), lab.terms(2));
});

test("no election starts while a committed membership change is not applied", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.node(1).proposeConfChange(change("addVoter", 4));
  const [append] = flush(lab.at(1)).filter((each) => each.to === 2);
  assert(append?.kind === "append");
  lab.node(2).step({ ...append, commit: at(2) });
  lab.node(2).campaign();
  assert.equal(lab.node(2).role, "follower");
  flush(lab.at(2));
  lab.node(2).campaign();
  assert.equal(lab.node(2).role, "candidate");
});

test("a change that cannot be is refused when it is proposed", () => {
  const lab = new Lab(1);
  lab.elect(1);
  assert.equal(lab.node(1).proposeConfChange(change("remove", 1)).kind, "refused");
  assert.equal(lab.node(1).proposeConfChange(change("addVoter")).kind, "refused");
  lab.settle();
  assert.deepEqual(lab.node(1).membership.voters, [1]);
});

test("B41 leadership moves only to a target that has the whole log, and nothing is taken meanwhile", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(2);
  lab.propose(1, "a");
  lab.node(1).transferLeadership(id(2));
  assert.equal(
    flush(lab.at(1)).some((each) => each.kind === "timeoutNow"),
    false,
  );
  assert.equal(lab.node(1).propose(Buffer.from("b")).kind, "dropped");
  lab.heal();
  lab.tick(1, 1);
  lab.settle();
  assert.equal(lab.node(2).role, "leader");
  assert.deepEqual(lab.at(2).applied, ["a"]);
});

test("B42 a transfer that takes an election timeout is given up", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(2);
  lab.node(1).transferLeadership(id(2));
  lab.tick(1, 9);
  assert.equal(lab.node(1).propose(Buffer.from("b")).kind, "dropped");
  lab.tick(1, 1);
  assert.equal(lab.node(1).propose(Buffer.from("b")).kind, "accepted");
});

test("leadership is not handed to a learner, a stranger or the leader itself", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.node(1).proposeConfChange(change("addLearner", 3));
  lab.settle();
  for (const target of [3, 1, 9]) {
    lab.node(1).transferLeadership(id(target));
    assert.equal(lab.node(1).status().transferee, 0, `to ${target}`);
  }
});

test("B44 a read waits until a quorum has confirmed the leader", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(1);
  assert.equal(lab.node(1).readIndex(7), true);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, []);
  lab.heal();
  lab.tick(1, 1);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, [{ requestId: 7, index: 1 }]);
});

test("B44 a read of a follower is answered with the leader's commit index", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.propose(1, "a");
  lab.node(2).readIndex(5);
  lab.settle();
  assert.deepEqual(lab.at(2).reads, [{ requestId: 5, index: 2 }]);
  assert.deepEqual(lab.at(1).reads, []);
});

test("B45 a read before the term's first commit waits for it, for a lone voter too", () => {
  for (const size of [1, 3]) {
    const lab = new Lab(size);
    lab.isLost = (each) => each.kind === "append";
    lab.elect(1);
    const early = lone(1, size, [1], { asyncStorageWrites: true });
    early.node.campaign();
    if (size === 1) {
      const vote = early.node.ready().messages[0];
      assert(vote?.kind === "storageAppend");
      for (const each of vote.responses) early.node.step(each);
      assert.equal(early.node.role, "leader");
      assert.equal(early.node.readIndex(1), true);
      const write = early.node.ready();
      assert.deepEqual(write.readStates, []);
      const append = write.messages.find((each) => each.kind === "storageAppend");
      assert(append?.kind === "storageAppend");
      early.log.append(append.entries);
      for (const each of append.responses) early.node.step(each);
      assert.deepEqual(early.node.ready().readStates, [{ requestId: 1, index: 2 }]);
      continue;
    }
    lab.node(1).readIndex(1);
    lab.tick(1, 1);
    lab.settle();
    assert.deepEqual(lab.at(1).reads, []);
    lab.heal();
    lab.tick(1, 1);
    lab.settle();
    assert.deepEqual(lab.at(1).reads, [{ requestId: 1, index: 1 }]);
  }
});

test("B46 an answer to an old round does not confirm a newer read", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.node(1).readIndex(1);
  const [first] = flush(lab.at(1));
  assert(first?.kind === "heartbeat");
  lab.node(1).readIndex(2);
  flush(lab.at(1));
  lab.node(1).step({
    kind: "heartbeatResponse",
    from: id(2),
    to: id(1),
    term: term(1),
    readRound: first.readRound,
  });
  flush(lab.at(1));
  assert.deepEqual(
    lab.at(1).reads.map((read) => read.requestId),
    [1],
  );
});

test("reads that wait are bounded", () => {
  const lab = new Lab(3);
  lab.elect(1);
  for (let i = 1; i <= limits.pendingReads; i++) assert.equal(lab.node(1).readIndex(i), true);
  assert.equal(lab.node(1).readIndex(0), false);
});

test("5.3-06 a term far ahead, a term of zero, a stranger's answer: refused, nothing changes", () => {
  const member = lone(2, 3, [1]);
  const before = JSON.stringify(member.node.status());
  const far = term(2 + limits.raftTermStep);
  assert.equal(member.node.step(appendTo(2, { term: far })), "invalid");
  assert.equal(member.node.step(voteFor(1, 2, { term: far, kind: "preVote" })), "invalid");
  assert.equal(member.node.step(appendTo(2, { term: term(0) })), "invalid");
  assert.equal(member.node.step(appendTo(3, { term: term(2) })), "invalid");
  assert.equal(member.node.step(appendTo(2, { from: id(2), term: term(2) })), "invalid");
  assert.equal(member.node.step(ackFrom(9, member, 1)), "peerNotFound");
  assert.equal(JSON.stringify(member.node.status()), before);
});

test("5.3-08 two leaders in one term stop the replica", () => {
  const lab = new Lab(3);
  lab.elect(1);
  const other = appendTo(2, { from: id(3) });
  assert.throws(() => lab.node(2).step(other), InvariantError);
  assert.throws(() => lab.node(1).step({ ...other, to: id(1) }), InvariantError);
});

test("a commit index past the log stops the replica: entries were lost", () => {
  const member = lone(2, 3, [1]);
  const beat = { kind: "heartbeat", from: id(1), to: id(2), term: term(1), readRound: 0 } as const;
  assert.throws(() => member.node.step({ ...beat, commit: at(2) }), InvariantError);
});

test("a follower that may not pass proposals on drops them", () => {
  const lab = new Lab(3, { disableProposalForwarding: true });
  lab.elect(1);
  assert.equal(lab.node(2).propose(Buffer.from("x")).kind, "dropped");
  const forwarding = new Lab(3);
  forwarding.elect(1);
  assert.deepEqual(forwarding.node(2).propose(Buffer.from("x")), { kind: "forwarded", to: 1 });
  forwarding.settle();
  assert.deepEqual(forwarding.at(3).applied, ["x"]);
});
