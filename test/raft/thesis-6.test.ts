/**
 * Chapter 6 of Ongaro's thesis as far as the core takes part: routing and reads. Finding the cluster
 * (6.1) and requests that are sent twice (6.3) are the router's and the queue's, and tested there.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { appendTo, at, flush, id, Lab, lone, type Member, term } from "./lab.ts";

function beatAnswer(from: number, leader: Member, readRound: number): void {
  leader.node.step({
    kind: "heartbeatResponse",
    from: id(from),
    to: leader.node.id,
    term: leader.node.term,
    readRound,
  });
}

/** The round that the heartbeats carry which are on their way now. */
function sentRound(leader: Member): number {
  const [beat] = flush(leader).filter((each) => each.kind === "heartbeat");
  assert(beat?.kind === "heartbeat");
  return beat.readRound;
}

test("6.2 a follower passes a command on to the leader that it knows", () => {
  const lab = new Lab(3);
  lab.elect(1);
  assert.deepEqual(lab.node(3).propose(Buffer.from("x")), { kind: "forwarded", to: 1 });
  lab.settle();
  assert.deepEqual(lab.at(3).applied, ["x"]);
  const alone = lone(3, 3);
  assert.equal(alone.node.propose(Buffer.from("x")).kind, "dropped", "nobody to pass it on to");
});

test("6.2 a leader that hears no majority for an election timeout steps down", () => {
  const lab = new Lab(5, { checkQuorum: true });
  lab.elect(1);
  // Its first check counts those who voted for it; from then on nobody is heard.
  lab.isolate(3, 4, 5);
  for (let i = 0; i < 20; i++) {
    lab.tick(1, 1);
    lab.settle();
  }
  assert.deepEqual([lab.node(1).role, lab.node(1).leaderId], ["follower", 0]);
  const heard = new Lab(5, { checkQuorum: true });
  heard.elect(1);
  heard.isolate(4, 5);
  for (let i = 0; i < 50; i++) {
    heard.tick(1, 1);
    heard.settle();
  }
  assert.equal(heard.node(1).role, "leader");
});

test("6.2 who hears of a new leader forgets the old one", () => {
  const member = lone(3, 3);
  member.node.step(appendTo(3, {}));
  assert.equal(member.node.leaderId, 1);
  member.node.step(appendTo(3, { from: id(2), term: term(2) }));
  assert.equal(member.node.leaderId, 2);
});

test("6.4 step 1: no read before an entry of the leader's own term is committed", () => {
  const lab = new Lab([[1, 1], [1, 1], []]);
  lab.isLost = (each) => each.kind === "append";
  lab.elect(1);
  lab.node(1).readIndex(1);
  assert.deepEqual(flush(lab.at(1)), [], "not even a round begins");
  lab.tick(1, 1);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, []);
  lab.heal();
  lab.tick(1, 1);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, [{ requestId: 1, index: 3 }]);
});

test("6.4 step 2: the read index is the commit index at the time of the request", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.node(1).readIndex(1);
  lab.node(1).propose(Buffer.from("x"));
  lab.settle();
  assert.equal(lab.node(1).commitIndex, 2);
  assert.deepEqual(lab.at(1).reads, [{ requestId: 1, index: 1 }]);
});

test("6.4 step 3: only a round that began after the request confirms it", () => {
  const lab = new Lab(3);
  lab.elect(1);
  const leader = lab.at(1);
  leader.node.tick();
  const before = sentRound(leader);
  leader.node.readIndex(1);
  const after = sentRound(leader);
  beatAnswer(2, leader, before);
  flush(leader);
  assert.deepEqual(leader.reads, [], "an answer to an older heartbeat");
  beatAnswer(2, leader, after);
  flush(leader);
  assert.deepEqual(leader.reads, [{ requestId: 1, index: 1 }]);
});

test("6.4 step 3: the majority is one of voters, and of both sets while a change is under way", () => {
  const lab = new Lab(5);
  lab.elect(1);
  const leader = lab.at(1);
  leader.node.readIndex(1);
  const round = sentRound(leader);
  beatAnswer(2, leader, round);
  beatAnswer(2, leader, round);
  flush(leader);
  assert.deepEqual(leader.reads, [], "one voter counts once");
  beatAnswer(3, leader, round);
  flush(leader);
  assert.equal(leader.reads.length, 1);
});

test("6.4 step 4: a follower asks its leader, and may serve when it has applied that much", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isLost = (each) => each.to === 3 && each.kind === "append";
  lab.propose(1, "x");
  lab.node(3).readIndex(7);
  lab.settle();
  assert.deepEqual(lab.at(3).reads, [{ requestId: 7, index: 2 }]);
  assert.equal(lab.node(3).appliedIndex, 1, "it has to wait for index 2");
});

test("6.4 one round confirms all reads that were asked before it began", () => {
  const lab = new Lab(3);
  lab.elect(1);
  const leader = lab.at(1);
  for (const requestId of [1, 2, 3]) leader.node.readIndex(requestId);
  const rounds = flush(leader).flatMap((each) =>
    each.kind === "heartbeat" && each.to === 2 ? [each.readRound] : [],
  );
  beatAnswer(2, leader, rounds[1] ?? 0);
  flush(leader);
  assert.deepEqual(
    leader.reads.map(({ requestId }) => requestId),
    [1, 2],
  );
  // An ordinary heartbeat carries the newest round: a lost one costs an interval.
  leader.node.tick();
  assert.equal(sentRound(leader), rounds[2]);
});

test("6.4 a read that waits ends with the leadership, unanswered", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.node(1).readIndex(1);
  lab.node(1).step(appendTo(1, { from: id(2), term: term(2) }));
  lab.settle();
  lab.elect(1);
  lab.tick(1, 1);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, []);
});

test("6.4.1 a lease is no longer than a majority is heard", () => {
  const lab = new Lab(3, { checkQuorum: true, readOnly: "lease" });
  lab.elect(1);
  lab.isolate(1);
  lab.tick(1, 20);
  assert.equal(lab.node(1).role, "follower");
  assert.equal(lab.node(1).readIndex(1), false);
});

test("6.4.1 a leader that has asked to be replaced has no lease any more (B43)", () => {
  const lab = new Lab(3, { checkQuorum: true, readOnly: "lease" });
  lab.elect(1);
  lab.isLost = (each) => each.kind === "timeoutNow";
  lab.node(1).transferLeadership(id(2));
  lab.settle();
  // Given up after a timeout, but the request may still arrive, and 3 would vote.
  for (let i = 0; i < 10; i++) {
    lab.tick(1, 1);
    lab.settle();
  }
  assert.equal(lab.node(1).transferee, 0);
  lab.isLost = (each) => each.from === 1 || each.to === 1;
  lab.node(2).step({ kind: "timeoutNow", from: id(1), to: id(2), term: term(1) });
  lab.settle();
  lab.propose(2, "x");
  assert.equal(lab.node(2).role, "leader");
  assert.equal(lab.node(1).readIndex(1), true);
  lab.settle();
  assert.deepEqual(lab.at(1).reads, [], "1 cannot know of x");
  assert.equal(lab.node(1).commitIndex, at(1));
});

test("6.4.1 with a lease followers do not let go of their leader", () => {
  const lab = new Lab(3, { checkQuorum: true, readOnly: "lease" });
  lab.elect(1);
  lab.node(2).forgetLeader();
  assert.equal(lab.node(2).leaderId, 1);
});
