/**
 * Chapter 3 of Ongaro's thesis ("Consensus: Bridging Theory and Practice") where it says more than
 * the paper: retries and parallel requests, crashes, what is persisted, timing, and hand-over.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRaftNode } from "../../src/raft/raft.ts";
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
} from "./lab.ts";

/** The process dies; its disk stays. */
function restarted(member: Member, appliedIndex = 0): Member {
  const node = createRaftNode({ ...member.config, appliedIndex: at(appliedIndex) });
  return { ...member, node, applied: [], reads: [] };
}

test("3.3 what got no answer is sent again", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isLost = (each) => each.kind === "append";
  lab.propose(1, "x");
  assert.deepEqual(lab.at(2).applied, []);
  lab.heal();
  for (let i = 0; i < 2; i++) {
    lab.tick(1, 1);
    lab.settle();
  }
  assert.deepEqual([lab.at(2).applied, lab.at(3).applied], [["x"], ["x"]]);
});

test("3.3 requests go to all followers in parallel, and several to each before any answer", () => {
  const lab = new Lab(3);
  lab.elect(1);
  for (const text of ["a", "b", "c"]) lab.node(1).propose(Buffer.from(text));
  const sent = flush(lab.at(1)).map((each) => [each.to, each.kind === "append" && each.prevIndex]);
  assert.deepEqual(sent, [
    [2, 1],
    [3, 1],
    [2, 2],
    [3, 2],
    [2, 3],
    [3, 3],
  ]);
});

test("3.5 an append may arrive before the one that it follows: it is refused, and comes again", () => {
  const lab = new Lab(2);
  lab.elect(1);
  for (const text of ["a", "b"]) lab.node(1).propose(Buffer.from(text));
  const [first, second] = flush(lab.at(1));
  assert(first !== undefined && second !== undefined);
  lab.node(2).step(second);
  lab.node(2).step(first);
  lab.settle();
  assert.deepEqual(lab.at(2).applied, ["a", "b"]);
});

test("3.5 logs that have one entry in common are the same up to it", () => {
  const lab = new Lab([[1, 1, 2, 2], [1, 1, 1, 1, 1], [1, 1, 2], [1, 3, 3, 3], [1]]);
  for (const own of [4, 1, 4]) lab.elect(own);
  for (let i = 0; i < 3; i++) {
    for (const { node } of lab.members) if (node.role === "leader") node.tick();
    lab.settle();
  }
  const logs = lab.members.map((_, i) => lab.terms(i + 1));
  for (const log of logs) assert.deepEqual(log, logs[0]);
});

test("3.6.3 who lacks a committed entry wins no election, however late its term", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(3);
  lab.propose(1, "x");
  assert.equal(lab.node(1).commitIndex, 2);
  lab.heal();
  for (let i = 0; i < 5; i++) {
    lab.elect(3);
    assert.notEqual(lab.node(3).role, "leader");
  }
});

test("3.7 a follower that was down gets all that it missed", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(2);
  for (const text of ["a", "b", "c"]) lab.propose(1, text);
  lab.restart(2);
  lab.heal();
  for (let i = 0; i < 2; i++) {
    lab.tick(1, 1);
    lab.settle();
  }
  assert.deepEqual(lab.at(2).applied, ["a", "b", "c"]);
});

test("3.7 when a candidate dies another is elected", () => {
  const lab = new Lab(3);
  lab.isolate(1);
  lab.elect(1);
  lab.tick(2, 10);
  lab.settle();
  assert.deepEqual([lab.node(2).role, lab.node(2).term], ["leader", 1]);
});

test("3.7 a follower that dies between the write and the answer gets the same request again", () => {
  const member = lone(2, 3);
  const append = appendTo(2, { entries: entriesOf([1]) });
  member.node.step(append);
  carryOut(member);
  const again = restarted(member);
  again.node.step(append);
  const { entries, messages } = carryOut(again);
  assert.deepEqual([entries, again.log.lastIndex()], [[], 1]);
  assert(messages[0]?.kind === "appendResponse" && messages[0].index === 1);
});

test("3.8 term and vote outlive the process", () => {
  const member = lone(3, 3);
  member.node.step(voteFor(1, 3, { term: term(4) }));
  flush(member);
  const again = restarted(member);
  assert.deepEqual([again.node.term, again.node.status().vote], [4, 1]);
  again.node.step(voteFor(2, 3, { term: term(4) }));
  const [answer] = flush(again);
  assert(answer?.kind === "voteResponse" && answer.reject);
});

test("3.8 the log outlives the process, and with it what was acknowledged", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1]) }));
  flush(member);
  const again = restarted(member);
  assert.equal(again.node.lastIndex, 2);
  again.node.step(voteFor(3, 2, { term: term(2), lastIndex: at(1), lastTerm: term(1) }));
  const [answer] = flush(again);
  assert(answer?.kind === "voteResponse" && answer.reject, "a shorter log gets no vote");
});

test("3.8 the commit index may be lost: a leader tells it again", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1]), commit: at(2) }));
  flush(member);
  member.log.hardState = { ...member.log.hardState, commit: at(0) };
  const again = restarted(member);
  assert.equal(again.node.commitIndex, 0);
  again.node.step(appendTo(2, { prevIndex: at(2), prevTerm: term(1), commit: at(2) }));
  flush(again);
  assert.deepEqual(again.applied, ["1@1", "2@1"]);
});

test("3.8 and errata: the applied index is as durable as the state that it belongs to", () => {
  const member = lone(2, 3);
  const append = appendTo(2, { entries: entriesOf([1, 1]), commit: at(2) });
  member.node.step(append);
  flush(member);
  const volatileState = restarted(member);
  flush(volatileState);
  assert.deepEqual(volatileState.applied, ["1@1", "2@1"], "a state in memory is built anew");
  const durableState = restarted(member, 1);
  flush(durableState);
  assert.deepEqual(durableState.applied, ["2@1"], "a state on disk goes on where it was");
});

test("3.9 while heartbeats come within the election timeout nobody calls an election", () => {
  const lab = new Lab(5, { electionTicks: 10, heartbeatTicks: 3, random: () => 0 });
  lab.elect(1);
  for (let tick = 0; tick < 200; tick++) {
    for (let own = 1; own <= 5; own++) lab.tick(own, 1);
    lab.settle();
  }
  assert.deepEqual(
    lab.members.map(({ node }) => [node.term, node.leaderId]),
    new Array(5).fill([1, 1]),
  );
});

test("3.9 a commit waits for the faster half only", () => {
  const lab = new Lab(5);
  lab.elect(1);
  lab.isolate(4, 5);
  lab.propose(1, "x");
  assert.deepEqual(lab.at(1).applied, ["x"]);
});

test("3.10 a leader that hands over first stops taking proposals", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.node(1).transferLeadership(id(2));
  assert.equal(lab.node(1).propose(Buffer.from("x")).kind, "dropped");
});

test("3.10 then it brings the target's log up to its own, and only then asks it to stand", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isolate(2);
  lab.propose(1, "x");
  lab.heal();
  lab.node(1).transferLeadership(id(2));
  lab.tick(1, 1);
  const kinds: string[] = [];
  lab.isLost = (each) => {
    if (each.from === 1 && each.to === 2 && each.term === 1) kinds.push(each.kind);
    return false;
  };
  lab.settle();
  assert.deepEqual(lab.at(2).applied, ["x"]);
  assert.equal(lab.node(2).role, "leader");
  assert.ok(kinds.indexOf("timeoutNow") > kinds.indexOf("append"), kinds.join(" "));
});

test("3.10 the target stands at once, without pre-vote, and others vote although they hear a leader", () => {
  const lab = new Lab(3, { preVote: true, checkQuorum: true });
  lab.elect(1);
  lab.node(1).transferLeadership(id(2));
  const seen: string[] = [];
  lab.isLost = (each) => {
    if (each.from === 2) seen.push(each.kind);
    return false;
  };
  lab.settle();
  assert.deepEqual(
    lab.members.map(({ node }) => [node.role, node.term]),
    [
      ["follower", 2],
      ["leader", 2],
      ["follower", 2],
    ],
  );
  assert.ok(seen.includes("vote") && !seen.includes("preVote"));
});

test("3.10 a transfer that takes an election timeout is given up, and proposals are taken again", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isLost = (each) => each.kind === "timeoutNow";
  lab.node(1).transferLeadership(id(2));
  lab.settle();
  lab.tick(1, 10);
  assert.deepEqual([lab.node(1).role, lab.node(1).transferee], ["leader", 0]);
  assert.equal(lab.node(1).propose(Buffer.from("x")).kind, "accepted");
});

test("3.10 a request to stand that is not for this term is ignored", () => {
  const member = lone(2, 3, [3]);
  member.node.step({ kind: "timeoutNow", from: id(1), to: id(2), term: term(2) });
  assert.deepEqual([member.node.role, member.node.term], ["follower", 3]);
  member.node.step({ kind: "timeoutNow", from: id(1), to: id(2), term: term(3) });
  assert.deepEqual([member.node.role, member.node.term], ["candidate", 4]);
});

test("3.10 a second wish for another target replaces the first; for the leader itself it ends it", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.isLost = (each) => each.kind === "timeoutNow";
  lab.node(1).transferLeadership(id(2));
  lab.node(1).transferLeadership(id(3));
  assert.equal(lab.node(1).transferee, 3);
  lab.node(1).transferLeadership(id(1));
  assert.equal(lab.node(1).transferee, 0);
  assert.equal(lab.node(1).propose(Buffer.from("x")).kind, "accepted");
});
