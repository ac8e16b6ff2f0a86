/**
 * Bugs that other Raft implementations had, each as the smallest situation that shows it:
 * votes, logs and snapshots. Numbers are rows of the project's bug catalogue.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRaftNode } from "../../../src/raft/raft.ts";
import { LOCAL_APPEND, type Message } from "../../../src/raft/types.ts";
import {
  ackFrom,
  appendTo,
  at,
  carryOut,
  entriesOf,
  flush,
  id,
  Lab,
  lone,
  members,
  progressOf,
  snapshotTo,
  term,
  voteFor,
} from "../../raft/lab.ts";

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
  const reject = (index: number): Message => ackFrom(2, leader, index, { reject: true });
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
