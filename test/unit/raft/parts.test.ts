/** The pieces that the core is made of, against naive models. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LogIndex, StoreId, Term } from "../../../src/base/brand.ts";
import { emptyMembership, restoreConfiguration, simple } from "../../../src/raft/conf-change.ts";
import { Inflights } from "../../../src/raft/inflights.ts";
import { Progress } from "../../../src/raft/progress.ts";
import { committedIndex, jointVoteResult } from "../../../src/raft/quorum.ts";
import { Unstable } from "../../../src/raft/unstable.ts";
import { entriesOf } from "../../raft/lab.ts";

const window = { maxInflightMsgs: 3, maxInflightBytes: 100 };

test("the committed index is the highest that a majority has reached", () => {
  const acks = fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(acks, (values) => {
      const ids = values.map((_, i) => (i + 1) as StoreId);
      const result = committedIndex(ids, (id) => values[id - 1]);
      const reached = (index: number): number => values.filter((value) => value >= index).length;
      assert.ok(reached(result) * 2 > values.length);
      assert.ok(reached(result + 1) * 2 <= values.length);
    }),
  );
});

test("a joint vote is won only in both halves, and lost in either", () => {
  const votes = fc.array(fc.constantFrom(true, false, undefined), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(votes, fc.nat(), (values, cut) => {
      const ids = values.map((_, i) => (i + 1) as StoreId);
      const at = 1 + (cut % (ids.length - 1));
      const [left, right] = [ids.slice(0, at), ids.slice(at)];
      const voteOf = (id: StoreId): boolean | undefined => values[id - 1];
      const halves = [left, right].map((half) => jointVoteResult(half, [], voteOf));
      const expected = halves.includes("lost")
        ? "lost"
        : halves.every((half) => half === "won")
          ? "won"
          : "pending";
      assert.equal(jointVoteResult(left, right, voteOf), expected);
    }),
  );
});

test("the window of appends frees what is answered, and is full by count or by bytes", () => {
  const inflights = new Inflights(3, 100);
  inflights.add(1, 40);
  inflights.add(5, 40);
  assert.equal(inflights.isFull(), false);
  inflights.freeTo(4);
  assert.deepEqual([inflights.count, inflights.bytes], [1, 40]);
  inflights.freeTo(5);
  assert.equal(inflights.count, 0);
  inflights.add(6, 100);
  assert.equal(inflights.isFull(), true);
  inflights.freeTo(6);
  for (const index of [7, 8, 9]) inflights.add(index, 1);
  assert.equal(inflights.isFull(), true);
});

test("the window behaves as a list under any sequence of sends and answers", () => {
  const moves = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 40 })), {
    maxLength: 80,
  });
  fc.assert(
    fc.property(moves, (sequence) => {
      const inflights = new Inflights(20, Number.POSITIVE_INFINITY);
      let model: number[] = [];
      let last = 0;
      for (const move of sequence) {
        if (move > 0) {
          const index = Math.max(0, last - 20) + move;
          inflights.freeTo(index);
          model = model.filter((each) => each > index);
        } else if (model.length < 20) {
          inflights.add(++last, 1);
          model.push(last);
        }
        assert.deepEqual([inflights.count, inflights.bytes], [model.length, model.length]);
      }
    }),
  );
});

test("B20 an acknowledgement of a replaced entry, same index and other term, frees nothing", () => {
  const unstable = new Unstable(1);
  unstable.truncateAndAppend(entriesOf([1, 1]));
  unstable.acceptInProgress();
  unstable.truncateAndAppend(entriesOf([2], 2));
  unstable.stableTo(2 as LogIndex, 1 as Term);
  assert.deepEqual(
    unstable.entries.map((entry) => entry.term),
    [1, 2],
  );
  assert.equal(unstable.hasNextEntries(), true);
  unstable.acceptInProgress();
  unstable.stableTo(2 as LogIndex, 2 as Term);
  assert.deepEqual([unstable.entries.length, unstable.offset], [0, 3]);
});

test("entries that were handed out are not changed by a truncation", () => {
  const unstable = new Unstable(1);
  unstable.truncateAndAppend(entriesOf([1, 1, 1]));
  const given = unstable.nextEntries();
  unstable.truncateAndAppend(entriesOf([2], 2));
  assert.deepEqual(
    given.map((entry) => entry.term),
    [1, 1, 1],
  );
});

test("a commit index is sent on its own only if it may tell the follower more", () => {
  const progress = new Progress(6, false, window);
  progress.becomeReplicate();
  progress.maybeUpdate(5 as LogIndex);
  assert.equal(progress.canBumpCommit(4 as LogIndex), true);
  progress.noteSentCommit(5 as LogIndex);
  assert.equal(progress.canBumpCommit(5 as LogIndex), false);
  assert.equal(progress.canBumpCommit(9 as LogIndex), false, "it has nothing past 5 to commit");
});

test("a simple change moves one voter; two need a joint configuration", () => {
  const options = { ...window, lastIndex: 1 };
  const one = restoreConfiguration({ ...emptyMembership, voters: [1 as StoreId] }, options);
  const add = (id: number) => ({ type: "addVoter" as const, id: id as StoreId });
  assert.equal(simple(one, [add(2)], options).kind, "changed");
  assert.equal(simple(one, [add(2), add(3)], options).kind, "refused");
  assert.deepEqual(one.membership.voters, [1], "the old configuration is as it was");
});
