/** A leader whose disk stands still, and members that do not keep up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ProgressStatus } from "../../../src/raft/progress-status.ts";
import type { RaftStatus } from "../../../src/raft/types.ts";
import { CommitStall, closestVoter } from "../../../src/shard/commit-stall.ts";
import { MemberPace } from "../../../src/shard/member-pace.ts";
import { at, id, term } from "../../raft/lab.ts";

function member(storeId: number, match: number, more: Partial<ProgressStatus> = {}) {
  return {
    id: id(storeId),
    state: "replicate",
    match: at(match),
    next: at(match + 1),
    isLearner: false,
    isPaused: false,
    recentActive: true,
    pendingSnapshot: at(0),
    inflightMsgs: 0,
    inflightFull: false,
    ...more,
  } satisfies ProgressStatus;
}

/** 1 leads, and has 5 on its disk. */
function status(others: readonly ProgressStatus[], transferee = 0): RaftStatus {
  return {
    id: id(1),
    role: "leader",
    term: term(1),
    vote: id(1),
    leaderId: id(1),
    commitIndex: at(6),
    appliedIndex: at(5),
    lastIndex: at(6),
    membership: {
      voters: [id(1), id(2), id(3)],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    },
    transferee: id(transferee),
    progress: [member(1, 5), ...others],
  };
}

/** What is decided at each of so many ticks while the write of entry 6 does not end. */
function decisions(ticks: number, look: () => RaftStatus): (number | null)[] {
  const stall = new CommitStall(3);
  return Array.from({ length: ticks }, () => stall.tick(at(6), look));
}

test("a write that does not end for some ticks hands over to who has it on its disk", () => {
  const look = () => status([member(2, 5), member(3, 6)]);
  assert.deepEqual(decisions(5, look), [null, null, null, 3, 3]);
});

test("nobody is handed to who has it not, is silent, or does not vote", () => {
  const others = [member(2, 6, { recentActive: false }), member(3, 5)];
  assert.deepEqual(decisions(5, () => status(others)).at(-1), null);
  const learner = [member(2, 6, { isLearner: true }), member(3, 5)];
  assert.deepEqual(decisions(5, () => status(learner)).at(-1), null);
});

test("nobody is handed to whom the others can not elect without this one", () => {
  const others = [member(2, 6), member(3, 6, { recentActive: false })];
  assert.equal(decisions(5, () => status(others)).at(-1), null);
});

test("while it is being handed over nobody else is asked", () => {
  assert.equal(decisions(5, () => status([member(2, 6), member(3, 6)], 2)).at(-1), null);
});

test("who has most of the log is first", () => {
  assert.equal(decisions(4, () => status([member(2, 6), member(3, 7)])).at(-1), 3);
});

test("writes that end, one after the other, are no stall", () => {
  const stall = new CommitStall(3);
  const look = () => status([member(2, 90), member(3, 90)]);
  for (let index = 6; index < 80; index++) {
    for (let tick = 0; tick < 3; tick++) assert.equal(stall.tick(at(index), look), null);
  }
  for (let tick = 0; tick < 9; tick++) assert.equal(stall.tick(null, look), null);
  for (let tick = 0; tick < 3; tick++) assert.equal(stall.tick(at(79), look), null);
  assert.equal(stall.tick(at(79), look), 2);
});

test("a member that lacks what was committed a second ago is steady only from then on", () => {
  const pace = new MemberPace(1_000);
  pace.note(0, at(10), [member(2, 10), member(3, 10)]);
  pace.note(900, at(50), [member(2, 50), member(3, 9)]);
  assert.equal(pace.steadyMs(id(3), 900), 900, "it has a second");
  pace.note(1_000, at(60), [member(2, 10), member(3, 9)]);
  assert.deepEqual([pace.steadyMs(id(2), 1_500), pace.steadyMs(id(3), 1_500)], [1_500, 500]);
  pace.note(2_000, at(90), [member(2, 90), member(3, 60)]);
  assert.equal(pace.steadyMs(id(3), 2_000), 1_000, "it has caught up");
});

test("whom a leader does not know yet is not steady, and a new lead begins anew", () => {
  const pace = new MemberPace(1_000);
  pace.note(0, at(10), [member(2, 10)]);
  assert.equal(pace.steadyMs(id(3), 5_000), 0);
  pace.note(5_000, at(10), [member(2, 10), member(3, 10)]);
  assert.equal(pace.steadyMs(id(3), 6_000), 1_000);
  pace.reset();
  assert.equal(pace.steadyMs(id(2), 6_000), 0);
});

test("a leader that was removed leaves to the voter that is closest behind and is heard", () => {
  const others = [
    member(2, 4),
    member(3, 6, { recentActive: false }),
    member(4, 5),
    member(5, 6, { isLearner: true }),
  ];
  assert.equal(closestVoter(status(others)), 4);
  assert.equal(closestVoter(status(others, 2)), null);
  assert.equal(closestVoter(status([member(3, 6, { recentActive: false })])), null);
});
