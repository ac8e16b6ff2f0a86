/**
 * One test per rule of section 5 of the Raft paper ("In Search of an Understandable Consensus
 * Algorithm", extended version), which is chapter 3 of Ongaro's thesis. The name carries both
 * sections. Figure 2, the other sections and what the thesis adds have files of their own.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../../src/raft/types.ts";
import { appendTo, at, carryOut, entriesOf, flush, id, Lab, lone, term, voteFor } from "./lab.ts";

const kindsOf = (messages: readonly Message[]): string[] => messages.map((each) => each.kind);

test("5.1, thesis 3.3: a message with a higher term makes any role a follower of that term", () => {
  for (const role of ["follower", "candidate", "leader"] as const) {
    const member = lone(1, role === "leader" ? 1 : 3);
    if (role !== "follower") member.node.campaign();
    flush(member);
    assert.equal(member.node.role, role);
    member.node.step(appendTo(1, { from: id(2), term: term(7) }));
    assert.deepEqual([member.node.role, member.node.term], ["follower", 7]);
    assert.equal(member.node.leaderId, 2);
  }
});

test("5.1, thesis 3.3: a message with a lower term changes nothing", () => {
  const member = lone(1, 3, [1, 5]);
  member.node.step(appendTo(1, { from: id(2), term: term(4), entries: entriesOf([4, 4]) }));
  member.node.step(voteFor(2, 1, { term: term(4), lastIndex: at(9), lastTerm: term(4) }));
  assert.equal(member.node.hasReady(), false);
  assert.equal(member.node.leaderId, 0);
});

test("5.2, thesis 3.4: a replica starts as follower", () => {
  assert.equal(lone(1, 3).node.role, "follower");
});

test("5.2, thesis 3.4: a follower that hears no leader campaigns with the next term and its own vote", () => {
  const member = lone(2, 3, [1]);
  for (let i = 0; i < 10; i++) member.node.tick();
  assert.deepEqual([member.node.role, member.node.term], ["candidate", 2]);
  const ready = carryOut(member);
  assert.deepEqual(ready.hardState, { term: 2, vote: 2, commit: 0 });
  assert.equal(ready.mustSync, true);
  assert.deepEqual(
    ready.messages.map((each) => [each.kind, each.to, each.term]),
    [
      ["vote", 1, 2],
      ["vote", 3, 2],
    ],
  );
});

test("5.2, thesis 3.4: a follower that hears its leader does not campaign", () => {
  const member = lone(2, 3, [1]);
  for (let i = 0; i < 50; i++) {
    if (i % 9 === 0) member.node.step(appendTo(2, { prevIndex: at(1), prevTerm: term(1) }));
    member.node.tick();
  }
  assert.equal(member.node.role, "follower");
});

test("5.2, thesis 3.4: election timeouts are spread over one to two times the base", () => {
  const seen = new Set<number>();
  for (let draw = 0; draw < 10; draw++) {
    const member = lone(1, 3, [], { random: () => draw });
    let ticks = 0;
    for (; member.node.role === "follower"; ticks++) member.node.tick();
    seen.add(ticks);
  }
  assert.deepEqual([...seen], [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
});

test("5.2, thesis 3.4: a candidate wins with a majority of all voters, and not before", () => {
  for (const [size, needed] of [
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
  ] as const) {
    for (const granted of [needed - 1, needed]) {
      const lab = new Lab(size);
      let others = 0;
      lab.isLost = (each) => each.kind === "voteResponse" && ++others > granted - 1;
      lab.elect(1);
      const expected = granted === needed ? "leader" : "candidate";
      assert.equal(lab.node(1).role, expected, `${granted} of ${size}`);
    }
  }
});

test("5.2, thesis 3.4: a voter gives one vote per term, first come first served", () => {
  const member = lone(3, 3);
  member.node.step(voteFor(1, 3, {}));
  member.node.step(voteFor(2, 3, {}));
  const answers = flush(member).map((each) => [
    each.kind,
    each.to,
    "reject" in each && each.reject,
  ]);
  assert.deepEqual(answers, [
    ["voteResponse", 1, false],
    ["voteResponse", 2, true],
  ]);
});

test("5.2, thesis 3.4: a candidate that hears a leader of its term follows it", () => {
  const member = lone(1, 3);
  member.node.campaign();
  member.node.step(appendTo(1, { from: id(2) }));
  assert.deepEqual([member.node.role, member.node.leaderId], ["follower", 2]);
});

test("5.2, thesis 3.4: a split vote ends in a new election with a higher term", () => {
  const lab = new Lab(3);
  lab.isLost = (each) => each.to === 3 || each.from === 3;
  lab.node(1).campaign();
  lab.node(2).campaign();
  lab.settle();
  assert.deepEqual([lab.node(1).role, lab.node(2).role], ["candidate", "candidate"]);
  lab.heal();
  lab.tick(1, 10);
  lab.settle();
  assert.deepEqual([lab.node(1).role, lab.node(1).term], ["leader", 2]);
  assert.equal(lab.node(2).role, "follower");
});

test("5.2, thesis 3.4: a leader sends heartbeats at every interval", () => {
  const lab = new Lab(3, { heartbeatTicks: 2 });
  lab.elect(1);
  lab.tick(1, 2);
  assert.deepEqual(kindsOf(flush(lab.at(1))), ["heartbeat", "heartbeat"]);
});

test("5.2, thesis 3.4: a leader never becomes candidate by itself", () => {
  const lab = new Lab(3);
  lab.elect(1);
  lab.node(1).campaign();
  lab.tick(1, 100);
  assert.deepEqual([lab.node(1).role, lab.node(1).term], ["leader", 1]);
});

test("5.3, thesis 3.5: a leader appends a proposal and sends it with the entry before it", () => {
  const lab = new Lab(3);
  lab.elect(1);
  const outcome = lab.node(1).propose(Buffer.from("x"));
  assert.deepEqual(outcome, { kind: "accepted", index: 2, term: 1 });
  const [append] = flush(lab.at(1));
  assert(append?.kind === "append");
  assert.deepEqual([append.prevIndex, append.prevTerm, append.entries.length], [1, 1, 1]);
});

test("5.3, thesis 3.5: an entry is committed when a majority stores it, and applied everywhere", () => {
  const lab = new Lab(5);
  lab.elect(1);
  lab.isolate(3, 4, 5);
  lab.propose(1, "x");
  assert.equal(lab.node(1).commitIndex, 1);
  lab.isolate(4, 5);
  lab.tick(1, 1);
  lab.settle();
  assert.equal(lab.node(1).commitIndex, 2);
  lab.heal();
  lab.tick(1, 1);
  lab.settle();
  for (const member of lab.members) assert.deepEqual(member.applied, ["x"]);
});

test("5.3, thesis 3.5: a commit takes all entries before it along, of earlier leaders too", () => {
  const lab = new Lab([[1, 2], [], []]);
  lab.elect(1);
  assert.equal(lab.node(1).commitIndex, 3);
  assert.deepEqual(lab.at(3).applied, ["1@1", "2@2"]);
});

test("5.3, thesis 3.5: a follower refuses an append whose previous entry it does not have", () => {
  for (const [prevIndex, prevTerm] of [
    [3, 3],
    [2, 1],
    [9, 3],
  ] as const) {
    const member = lone(2, 3, [1, 2]);
    member.node.step(
      appendTo(2, {
        term: term(4),
        prevIndex: at(prevIndex),
        prevTerm: term(prevTerm),
        entries: entriesOf([4], prevIndex + 1),
      }),
    );
    const [answer] = flush(member);
    assert(answer?.kind === "appendResponse");
    assert.deepEqual([answer.reject, answer.index], [true, prevIndex]);
    assert.equal(member.node.lastIndex, 2);
  }
});

test("5.3, thesis 3.5: a conflicting entry goes, with all that follow it; equal ones stay", () => {
  for (const { have, prev, sent, want } of [
    { have: [1, 1, 1], prev: 1, sent: [2], want: [1, 2] },
    { have: [1, 1, 1], prev: 0, sent: [1], want: [1, 1, 1] },
    { have: [1, 1, 1], prev: 0, sent: [1, 1, 2, 2], want: [1, 1, 2, 2] },
    { have: [1], prev: 1, sent: [1, 2], want: [1, 1, 2] },
  ]) {
    const member = lone(2, 3, have);
    member.node.step(
      appendTo(2, {
        term: term(2),
        prevIndex: at(prev),
        prevTerm: term(prev === 0 ? 0 : 1),
        entries: entriesOf(sent, prev + 1),
      }),
    );
    flush(member);
    const all = member.log.entries(at(1), at(member.log.lastIndex() + 1), 1e9);
    assert.deepEqual(
      all.map((entry) => entry.term),
      want,
    );
  }
});

test("5.3, thesis 3.5: a leader brings every log of figure 7 to its own", () => {
  const leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const others = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ];
  for (const other of others) {
    const lab = new Lab([leader, other, []]);
    // Enough campaigns to pass the other's term; the third, empty log gives the vote.
    for (let i = 0; i < 3; i++) lab.elect(1);
    assert.equal(lab.node(1).role, "leader");
    assert.deepEqual(lab.terms(2), lab.terms(1));
    assert.deepEqual(lab.terms(3), lab.terms(1));
    assert.deepEqual(lab.at(2).applied, lab.at(1).applied);
  }
});

test("5.3, thesis 3.5: a rejected append goes back a whole term, not one entry", () => {
  const lab = new Lab([
    [1, ...new Array<number>(1000).fill(5)],
    [1, ...new Array<number>(1000).fill(4)],
  ]);
  let appends = 0;
  lab.isLost = (each) => {
    if (each.kind === "append") appends++;
    return false;
  };
  lab.elect(1);
  assert.deepEqual(lab.terms(2), lab.terms(1));
  assert.ok(appends < 10, `${appends} appends`);
});

test("5.4.1, thesis 3.6.1: a vote goes only to a log that is at least as new: last term first, then length", () => {
  for (const { have, lastTerm, lastIndex, granted } of [
    { have: [1], lastTerm: 1, lastIndex: 1, granted: true },
    { have: [1], lastTerm: 1, lastIndex: 2, granted: true },
    { have: [1, 1], lastTerm: 1, lastIndex: 1, granted: false },
    { have: [1, 1], lastTerm: 2, lastIndex: 1, granted: true },
    { have: [2], lastTerm: 1, lastIndex: 9, granted: false },
  ]) {
    const member = lone(2, 3, have);
    member.node.step(
      voteFor(1, 2, { term: term(3), lastTerm: term(lastTerm), lastIndex: at(lastIndex) }),
    );
    const [answer] = flush(member);
    assert(answer?.kind === "voteResponse");
    assert.equal(answer.reject, !granted, JSON.stringify({ have, lastTerm, lastIndex }));
  }
});

test("5.4.2, thesis 3.6.2: figure 8: an entry of an earlier term on a majority is not committed by that (B13)", () => {
  // S1 leads term 2 and reaches S2 only; S5 leads term 3 with an entry of its own.
  const lab = new Lab([[1, 2], [1, 2], [1], [1], [1, 3]]);
  // (c) S1 leads term 4 and spreads its entry of term 2 to S3. Its own first entry is lost.
  lab.isLost = (each) =>
    [4, 5].includes(each.from) ||
    (each.kind === "append" && [4, 5].includes(each.to)) ||
    (each.kind === "append" && each.entries.some((entry) => entry.term > 2));
  for (const own of [1, 2, 3, 4]) lab.node(own).step(voteFor(5, own, { term: term(3) }));
  lab.settle();
  lab.elect(1);
  assert.deepEqual([lab.node(1).role, lab.node(1).term], ["leader", 4]);
  const spread = appendTo(3, {
    term: term(4),
    prevIndex: at(1),
    prevTerm: term(1),
    entries: entriesOf([2], 2),
  });
  lab.node(3).step(spread);
  lab.node(2).step(appendTo(2, { term: term(4), prevIndex: at(2), prevTerm: term(2) }));
  lab.settle();
  assert.deepEqual([lab.terms(1)[1], lab.terms(2)[1], lab.terms(3)[1]], [2, 2, 2]);
  assert.equal(lab.node(1).commitIndex, 0, "2@2 is on three of five, and not committed");
  // (d) S5 may still win, and overwrite it.
  lab.isLost = (each) => each.from === 1 || each.to === 1;
  for (let i = 0; i < 3 && lab.node(5).role !== "leader"; i++) lab.elect(5);
  assert.equal(lab.node(5).role, "leader");
  assert.equal(lab.terms(3)[1], 3);
});

test("5.4.2, thesis 3.6.2: with an entry of its own term on a majority a leader commits the earlier ones", () => {
  const lab = new Lab([[1, 2], [1, 2], [1], [1], [1, 3]]);
  for (const own of [1, 2, 3, 4]) lab.node(own).step(voteFor(5, own, { term: term(3) }));
  lab.wire = [];
  for (const member of lab.members) flush(member);
  lab.isolate(4, 5);
  lab.elect(1);
  assert.equal(lab.node(1).commitIndex, 3);
});

test("5.5, thesis 3.7: a repeated request has no further effect", () => {
  const member = lone(2, 3);
  const append = appendTo(2, { entries: entriesOf([1, 1]), commit: at(1) });
  member.node.step(append);
  flush(member);
  member.node.step(append);
  assert.equal(carryOut(member).entries.length, 0, "nothing is written again");
  assert.equal(member.node.lastIndex, 2);
  assert.deepEqual(member.applied, ["1@1"]);
});
