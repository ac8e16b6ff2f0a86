/**
 * Bugs that other Raft implementations had, each as the smallest situation that shows it:
 * membership, hand-over, reads and bad messages. Numbers are rows of the project's bug catalogue.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError } from "../../../src/base/assert.ts";
import { limits } from "../../../src/base/limits.ts";
import type { Message } from "../../../src/raft/types.ts";
import {
  ackFrom,
  appendTo,
  at,
  carryOut,
  change,
  flush,
  id,
  Lab,
  lone,
  term,
  voteFor,
} from "../../raft/lab.ts";

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

test("5.3-05 what comes from a non-member is dropped, but for the calls of whoever joins", () => {
  const member = lone(2, 3, [1]);
  const before = JSON.stringify(member.node.status());
  const head = { from: id(9), to: id(2), term: term(1) } as const;
  const answers: readonly Message[] = [
    ackFrom(9, member, 1),
    { ...head, kind: "voteResponse", reject: false },
    { ...head, kind: "preVoteResponse", reject: false },
    { ...head, kind: "heartbeatResponse", readRound: 1 },
    { ...head, kind: "readIndexResponse", index: at(1), requestId: 1 },
  ];
  for (const each of answers) assert.equal(member.node.step(each), "peerNotFound", each.kind);
  assert.equal(JSON.stringify(member.node.status()), before);
  // a new member may ask before the old ones know of it, and be asked (Raft paper, section 6)
  assert.equal(member.node.step(voteFor(9, 2, { term: term(2), kind: "preVote" })), "ok");
  assert.equal(member.node.step(appendTo(2, { from: id(9), term: term(1) })), "ok");
});

test("5.3-07 places past the log change nothing", () => {
  const follower = lone(2, 3, [1]);
  follower.node.step(appendTo(2, {}));
  carryOut(follower);
  const before = JSON.stringify(follower.node.status());
  assert.equal(follower.node.step(appendTo(2, { prevIndex: at(7), prevTerm: term(1) })), "ok");
  const answer = carryOut(follower).messages[0];
  assert.ok(answer?.kind === "appendResponse" && answer.reject);
  const far = { prevIndex: at(2 ** 53 - 2), prevTerm: term(1), commit: at(2 ** 53 - 1) };
  assert.equal(follower.node.step(appendTo(2, far)), "ok");
  assert.equal(follower.node.step(appendTo(2, { commit: at(2 ** 53 - 1) })), "ok");
  assert.equal(JSON.stringify(follower.node.status()), before);

  const lab = new Lab(3);
  lab.elect(1);
  const leader = lab.at(1);
  const status = JSON.stringify(leader.node.status());
  assert.equal(leader.node.step(ackFrom(2, leader, leader.node.status().lastIndex + 1)), "invalid");
  assert.equal(leader.node.step(ackFrom(2, leader, 2 ** 53 - 1)), "invalid");
  assert.equal(JSON.stringify(leader.node.status()), status);
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
