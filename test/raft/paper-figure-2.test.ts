/**
 * Figure 2 of the Raft paper (extended version), line by line. What section 5 says of the same rules
 * in prose is in paper.test.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../../src/raft/types.ts";
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
  type Member,
  progressOf,
  term,
  voteFor,
} from "./lab.ts";

/** The one answer that a message gets. */
function answerOf(member: Member, message: Message): Message {
  member.node.step(message);
  const [answer, ...more] = flush(member);
  assert(answer !== undefined && more.length === 0, `one answer to ${message.kind}`);
  return answer;
}

function logTerms(member: Member): number[] {
  const { log } = member;
  if (log.lastIndex() < log.firstIndex()) return [];
  return log
    .entries(log.firstIndex(), at(log.lastIndex() + 1), Number.POSITIVE_INFINITY)
    .map((entry) => entry.term);
}

test("figure 2, state: term, vote and log are durable before what vouches for them leaves", () => {
  const steps: readonly [Message, string][] = [
    [voteFor(1, 2, {}), "voteResponse"],
    [appendTo(2, { entries: entriesOf([1]) }), "appendResponse"],
    [appendTo(2, { term: term(2), prevIndex: at(1), prevTerm: term(1) }), "appendResponse"],
  ];
  const member = lone(2, 3, [], { asyncStorageWrites: true });
  for (const [message, kind] of steps) {
    member.node.step(message);
    const [write, ...others] = member.node.ready().messages;
    assert(write?.kind === "storageAppend" && others.length === 0);
    assert.equal(write.responses[0]?.kind, kind, "behind the write");
    assert.equal(write.mustSync, true);
  }
});

test("figure 2, state: commit index and applied index start at 0 and only grow", () => {
  const member = lone(2, 3);
  const seen: [number, number][] = [[member.node.commitIndex, member.node.appliedIndex]];
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1]) }));
  for (const commit of [2, 1, 3, 0]) {
    const prev = { prevIndex: at(3), prevTerm: term(1) };
    member.node.step(appendTo(2, { ...prev, commit: at(commit) }));
    flush(member);
    seen.push([member.node.commitIndex, member.node.appliedIndex]);
  }
  assert.deepEqual(seen, [
    [0, 0],
    [2, 2],
    [2, 2],
    [3, 3],
    [3, 3],
  ]);
});

test("figure 2, state: a new leader takes next as the end of its log and match as 0", () => {
  const lab = new Lab([[1, 1, 1], [1], [1]]);
  lab.isLost = (each) => each.kind === "append";
  lab.elect(1);
  for (const other of [2, 3]) {
    const { next, match, state } = progressOf(lab.at(1), other);
    assert.deepEqual([next, match, state], [4, 0, "probe"]);
  }
});

test("figure 2, append 1: an append of an earlier term is refused, and its sender told the term", () => {
  const quiet = lone(2, 3, [1, 3]);
  const old = appendTo(2, { term: term(2), entries: entriesOf([2, 2]) });
  quiet.node.step(old);
  assert.deepEqual([quiet.node.hasReady(), logTerms(quiet)], [false, [1, 3]]);
  // Where votes can be ignored, an old leader has no other way to hear of the term.
  const telling = lone(2, 3, [1, 3], { checkQuorum: true });
  const answer = answerOf(telling, old);
  assert(answer.kind === "appendResponse" && answer.term === 3 && answer.index === 0);
  assert.deepEqual(logTerms(telling), [1, 3]);
});

test("figure 2, append 2: an append whose previous entry is not there is refused", () => {
  const member = lone(2, 3, [1, 1, 2]);
  for (const [prevIndex, prevTerm] of [
    [3, 1],
    [4, 2],
  ] as const) {
    const prev = { prevIndex: at(prevIndex), prevTerm: term(prevTerm) };
    const answer = answerOf(
      member,
      appendTo(2, { term: term(2), ...prev, entries: entriesOf([2], prevIndex + 1) }),
    );
    assert(answer.kind === "appendResponse" && answer.reject);
    assert.deepEqual(logTerms(member), [1, 1, 2]);
  }
});

test("figure 2, append 3: a conflicting entry and all after it are deleted", () => {
  const member = lone(2, 3, [1, 1, 1, 1]);
  const prev = { prevIndex: at(1), prevTerm: term(1) };
  answerOf(member, appendTo(2, { term: term(2), ...prev, entries: entriesOf([2], 2) }));
  assert.deepEqual(logTerms(member), [1, 2]);
});

test("figure 2, append 4: only entries that are not there are appended", () => {
  const member = lone(2, 3, [1, 1]);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1, 1]) }));
  assert.deepEqual(
    carryOut(member).entries.map((entry) => entry.index),
    [3, 4],
  );
});

test("figure 2, append 5: commit moves to the leader's, at most to the last new entry", () => {
  for (const [leaderCommit, entries, want] of [
    [5, 2, 2],
    [1, 2, 1],
    [5, 0, 0],
  ] as const) {
    const member = lone(2, 3, [1, 1, 1]);
    const sent = entriesOf([1, 1, 1].slice(0, entries));
    answerOf(member, appendTo(2, { entries: sent, commit: at(leaderCommit) }));
    assert.equal(member.node.commitIndex, want);
  }
});

test("figure 2, vote 1: a request of an earlier term gets no vote", () => {
  const member = lone(2, 3, [1, 3]);
  member.node.step(voteFor(1, 2, { term: term(2), lastIndex: at(9), lastTerm: term(3) }));
  assert.equal(member.node.hasReady(), false);
  // A pre-candidate is told, or it would ask for ever.
  const answer = answerOf(member, voteFor(1, 2, { kind: "preVote", term: term(2) }));
  assert(answer.kind === "preVoteResponse" && answer.reject && answer.term === 3);
});

test("figure 2, vote 2: the vote is free or the candidate's, and its log is up to date", () => {
  for (const [votedFor, lastIndex, isGranted] of [
    [0, 2, true],
    [0, 1, false],
    [1, 2, true],
    [3, 2, false],
  ] as const) {
    const member = lone(2, 3, [1, 1], {}, 2);
    const ask = { term: term(2), lastTerm: term(1) };
    if (votedFor > 0) answerOf(member, voteFor(votedFor, 2, { ...ask, lastIndex: at(9) }));
    const answer = answerOf(member, voteFor(1, 2, { ...ask, lastIndex: at(lastIndex) }));
    assert(answer.kind === "voteResponse");
    assert.equal(!answer.reject, isGranted, `voted for ${votedFor}, log to ${lastIndex}`);
  }
});

test("figure 2, all: what is committed is applied, each entry once and in order", () => {
  const member = lone(2, 3);
  member.node.step(appendTo(2, { entries: entriesOf([1, 1, 1]) }));
  for (const commit of [1, 3, 3]) {
    const prev = { prevIndex: at(3), prevTerm: term(1) };
    member.node.step(appendTo(2, { ...prev, commit: at(commit) }));
    flush(member);
  }
  assert.deepEqual(member.applied, ["1@1", "2@1", "3@1"]);
});

test("figure 2, all: a higher term in any message makes a follower of that term", () => {
  const head = { from: id(2), to: id(1), term: term(9) } as const;
  const all: readonly Message[] = [
    appendTo(1, head),
    voteFor(2, 1, head),
    { ...head, kind: "voteResponse", reject: true },
    { ...head, kind: "preVoteResponse", reject: true },
    { ...head, kind: "heartbeat", commit: at(0), readRound: 0 },
    { ...head, kind: "heartbeatResponse", readRound: 0 },
    { ...head, kind: "timeoutNow" },
    { ...ackFrom(2, lone(1, 3), 0), term: term(9) },
  ];
  for (const message of all) {
    const lab = new Lab(3);
    lab.elect(1);
    lab.node(1).step(message);
    const wanted = message.kind === "timeoutNow" ? ["candidate", 10] : ["follower", 9];
    assert.deepEqual([lab.node(1).role, lab.node(1).term], wanted, message.kind);
  }
});

test("figure 2, followers: they answer candidates and leaders, and say nothing else", () => {
  const member = lone(2, 3, [1]);
  for (let i = 0; i < 9; i++) member.node.tick();
  assert.equal(member.node.hasReady(), false);
  assert.equal(answerOf(member, voteFor(1, 2, { term: term(2) })).kind, "voteResponse");
  assert.equal(answerOf(member, appendTo(2, { term: term(2) })).kind, "appendResponse");
});

test("figure 2, followers: an append of the leader or a granted vote puts the election off", () => {
  const heard: readonly [Message, boolean][] = [
    [appendTo(2, {}), true],
    [voteFor(1, 2, { lastIndex: at(1), lastTerm: term(1) }), true],
    // A vote that is not granted puts nothing off.
    [voteFor(1, 2, {}), false],
  ];
  for (const [message, isPutOff] of heard) {
    const member = lone(2, 3, [1]);
    for (let i = 0; i < 9; i++) member.node.tick();
    member.node.step(message);
    member.node.tick();
    assert.equal(member.node.role === "follower", isPutOff, message.kind);
  }
});

test("figure 2, candidates: a new term, the own vote, a new timeout, a request to all others", () => {
  const draws: number[] = [];
  const member = lone(2, 5, [1], { random: (n) => draws.push(n) % n });
  const before = draws.length;
  member.node.campaign();
  const ready = carryOut(member);
  assert.deepEqual([ready.hardState?.term, ready.hardState?.vote], [2, 2]);
  assert.deepEqual(
    ready.messages.map((each) => [each.kind, each.to]),
    [1, 3, 4, 5].map((to) => ["vote", to]),
  );
  assert.ok(draws.length > before, "a new timeout is drawn");
});

test("figure 2, candidates: a majority of votes makes the leader", () => {
  const member = lone(1, 5);
  member.node.campaign();
  flush(member);
  const vote = { kind: "voteResponse", to: id(1), term: term(1), reject: false } as const;
  member.node.step({ ...vote, from: id(2) });
  member.node.step({ ...vote, from: id(2) });
  assert.equal(member.node.role, "candidate", "one voter counts once");
  member.node.step({ ...vote, from: id(3) });
  assert.equal(member.node.role, "leader");
});

test("figure 2, candidates: an append of a new leader makes a follower", () => {
  const member = lone(1, 3);
  member.node.campaign();
  flush(member);
  member.node.step(appendTo(1, { from: id(3) }));
  assert.deepEqual([member.node.role, member.node.leaderId], ["follower", 3]);
});

test("figure 2, candidates: an election that takes too long is followed by another", () => {
  const member = lone(1, 3);
  member.node.campaign();
  flush(member);
  for (let i = 0; i < 10; i++) member.node.tick();
  assert.deepEqual([member.node.role, member.node.term], ["candidate", 2]);
  assert.equal(flush(member).length, 2);
});

test("figure 2, leaders: an append goes to everybody at once, heartbeats while there is nothing", () => {
  const member = lone(1, 3);
  member.node.campaign();
  flush(member);
  const vote = { kind: "voteResponse", from: id(2), to: id(1), term: term(1) } as const;
  member.node.step({ ...vote, reject: false });
  assert.deepEqual(
    flush(member).map((each) => [each.kind, each.to]),
    [
      ["append", 2],
      ["append", 3],
    ],
  );
  for (let round = 0; round < 3; round++) {
    member.node.tick();
    assert.deepEqual(
      flush(member).map((each) => [each.kind, each.to]),
      [
        ["heartbeat", 2],
        ["heartbeat", 3],
      ],
    );
  }
});

test("figure 2, leaders: a command is in the log at once, and answered when it is applied", () => {
  const lab = new Lab(3);
  lab.elect(1);
  assert.deepEqual(lab.node(1).propose(Buffer.from("x")), {
    kind: "accepted",
    index: 2,
    term: 1,
  });
  flush(lab.at(1));
  assert.deepEqual([lab.at(1).log.lastIndex(), lab.at(1).applied], [2, []]);
  lab.node(1).step(ackFrom(2, lab.at(1), 2));
  flush(lab.at(1));
  assert.deepEqual(lab.at(1).applied, ["x"]);
});

test("figure 2, leaders: success moves next and match, failure moves next back and tries again", () => {
  const lab = new Lab([
    [1, 1, 1],
    [1, 1, 1],
    [1, 1, 1],
  ]);
  lab.isLost = (each) => each.kind === "append";
  lab.elect(1);
  const leader = lab.at(1);
  leader.node.step(ackFrom(2, leader, 3, { reject: true, hintIndex: at(1), hintTerm: term(1) }));
  const [again] = flush(leader);
  assert(again?.kind === "append" && again.prevIndex === 1);
  assert.equal(again.entries.length, 3);
  leader.node.step(ackFrom(2, leader, 4));
  const { next, match } = progressOf(leader, 2);
  assert.deepEqual([next, match], [5, 4]);
});

test("figure 2, leaders: the highest index of this term that a majority has is committed", () => {
  const lab = new Lab([[1, 1], [1, 1], [1, 1], [], []]);
  lab.isLost = (each) => each.kind === "append";
  lab.elect(1);
  const leader = lab.at(1);
  for (const text of ["a", "b"]) leader.node.propose(Buffer.from(text));
  flush(leader);
  leader.node.step(ackFrom(2, leader, 2));
  leader.node.step(ackFrom(3, leader, 2));
  assert.equal(leader.node.commitIndex, 0, "2 is of an earlier term");
  leader.node.step(ackFrom(2, leader, 5));
  assert.equal(leader.node.commitIndex, 0, "two of five");
  leader.node.step(ackFrom(3, leader, 4));
  assert.equal(leader.node.commitIndex, 4, "three of five have 4, which takes 1 to 3 along");
});
