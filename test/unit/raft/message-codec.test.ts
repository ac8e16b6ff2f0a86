import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LogIndex, StoreId, Term } from "../../../src/base/brand.ts";
import { DecodeError } from "../../../src/base/bytes.ts";
import { decodeConfChange, encodeConfChange } from "../../../src/raft/conf-change-codec.ts";
import { decodeMessage, encodeMessage } from "../../../src/raft/message-codec.ts";
import type { ConfChange, Entry, EntryType, NetworkMessage } from "../../../src/raft/types.ts";

/** With the prototype that our decoders' objects have, for deepEqual. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model).map((value) => ({ ...value }));
}

const big = 2 ** 40;
const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 2 }).map((n) => n as StoreId);
const term = fc.integer({ min: 1, max: big }).map((n) => n as Term);
const index = fc.integer({ min: 0, max: big }).map((n) => n as LogIndex);
const round = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const data = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const type = fc.constantFrom<EntryType>("normal", "confChange", "confChangeV2");
const head = record({ from: id, to: id, term });
const of = <K extends string>(...kinds: K[]) => fc.constantFrom(...kinds);

const append = fc
  .record({
    head,
    prevIndex: index,
    commit: index,
    steps: fc.array(record({ rise: fc.integer({ min: 0, max: 3 }), type, data }), {
      maxLength: 20,
    }),
  })
  .map(({ head, prevIndex, commit, steps }): NetworkMessage => {
    let at = 1;
    const entries = steps.map(({ rise, type, data }, i): Entry => {
      at += rise;
      return { index: (prevIndex + 1 + i) as LogIndex, term: at as Term, type, data };
    });
    const own = { ...head, term: Math.max(head.term, at) as Term };
    return { kind: "append", ...own, prevIndex, prevTerm: 1 as Term, commit, entries };
  });

const membership = fc
  .uniqueArray(id, { maxLength: 9 })
  .map((ids) => ids.sort((a, b) => a - b))
  .map((ids) => ({
    voters: ids.filter((_, i) => i % 3 === 0),
    votersOutgoing: ids.filter((_, i) => i % 3 === 1),
    learners: ids.filter((_, i) => i % 3 === 2),
    learnersNext: ids.filter((_, i) => i % 6 === 1),
    autoLeave: ids.length > 4,
  }));

const bool = fc.boolean();
const message: fc.Arbitrary<NetworkMessage> = fc.oneof(
  append,
  fc
    .tuple(head, record({ reject: bool, index, hintIndex: index, hintTerm: term }))
    .map(([head, body]): NetworkMessage => ({ kind: "appendResponse", ...head, ...body })),
  fc
    .tuple(
      head,
      of("vote", "preVote"),
      record({ lastIndex: index, lastTerm: term, transfer: bool }),
    )
    .map(([head, kind, body]): NetworkMessage => ({ kind, ...head, ...body })),
  fc
    .tuple(head, of("voteResponse", "preVoteResponse"), bool)
    .map(([head, kind, reject]): NetworkMessage => ({ kind, ...head, reject })),
  fc.tuple(head, index, round).map(
    ([head, commit, readRound]): NetworkMessage => ({
      kind: "heartbeat",
      ...head,
      commit,
      readRound,
    }),
  ),
  fc
    .tuple(head, round)
    .map(
      ([head, readRound]): NetworkMessage => ({ kind: "heartbeatResponse", ...head, readRound }),
    ),
  fc.tuple(head, term, membership).map(
    ([head, at, membership]): NetworkMessage => ({
      kind: "snapshot",
      ...head,
      snapshot: { index: (at + 1) as LogIndex, term: at, membership },
    }),
  ),
  head.map((head): NetworkMessage => ({ kind: "timeoutNow", ...head })),
  fc
    .tuple(head, id)
    .map(([head, target]): NetworkMessage => ({ kind: "transferLeader", ...head, target })),
  fc
    .tuple(head, fc.array(record({ type, data }), { minLength: 1, maxLength: 5 }))
    .map(([head, entries]): NetworkMessage => ({ kind: "propose", ...head, entries })),
  fc
    .tuple(head, round)
    .map(([head, requestId]): NetworkMessage => ({ kind: "readIndex", ...head, requestId })),
  fc.tuple(head, index, round).map(
    ([head, index, requestId]): NetworkMessage => ({
      kind: "readIndexResponse",
      ...head,
      index,
      requestId,
    }),
  ),
);

test("every message comes back as it was", () => {
  fc.assert(
    fc.property(message, (each) => assert.deepEqual(decodeMessage(encodeMessage(each)), each)),
  );
});

test("a message cut short or with a byte more is a DecodeError", () => {
  fc.assert(
    fc.property(message, fc.nat(), (each, at) => {
      const bytes = encodeMessage(each);
      const cut = bytes.subarray(0, at % bytes.length);
      assert.throws(() => decodeMessage(Buffer.from(cut)), DecodeError);
      assert.throws(() => decodeMessage(Buffer.concat([bytes, Buffer.of(0)])), DecodeError);
    }),
  );
});

test("random and mutated bytes are a message or a DecodeError, nothing else", () => {
  const mutated = fc.tuple(message, fc.nat(), fc.nat({ max: 255 })).map(([each, at, value]) => {
    const bytes = Buffer.from(encodeMessage(each));
    bytes[at % bytes.length] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(data, mutated), (bytes) => {
      try {
        const decoded = decodeMessage(bytes);
        assert.deepEqual(decodeMessage(encodeMessage(decoded)), decoded);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

test("an append whose terms fall, or pass the leader's, is refused", () => {
  const entry = (at: number, in_: number): Entry => ({
    index: at as LogIndex,
    term: in_ as Term,
    type: "normal",
    data: Buffer.alloc(0),
  });
  const bytes = (entries: readonly Entry[]): Buffer =>
    encodeMessage({
      kind: "append",
      from: 1 as StoreId,
      to: 2 as StoreId,
      term: 5 as Term,
      prevIndex: 0 as LogIndex,
      prevTerm: 0 as Term,
      commit: 0 as LogIndex,
      entries,
    });
  assert.equal(decodeMessage(bytes([entry(1, 4), entry(2, 5)])).kind, "append");
  assert.throws(() => decodeMessage(bytes([entry(1, 5), entry(2, 4)])), DecodeError);
  assert.throws(() => decodeMessage(bytes([entry(1, 6)])), DecodeError);
  assert.throws(() => decodeMessage(bytes([entry(1, 0)])), DecodeError);
});

test("a huge count of entries is refused before memory is taken", () => {
  const bytes = Buffer.from([1, 0, 1, 2, 5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]);
  assert.throws(() => decodeMessage(bytes), DecodeError);
});

test("membership changes come back as they were; leaving a joint one costs no byte", () => {
  const change = record({
    type: fc.constantFrom(
      "addVoter" as const,
      "addLearner" as const,
      "remove" as const,
      "update" as const,
    ),
    id,
  });
  const any: fc.Arbitrary<ConfChange> = fc.oneof(
    record({ kind: fc.constant("v1" as const), change, context: data }),
    record({
      kind: fc.constant("v2" as const),
      transition: fc.constantFrom(
        "auto" as const,
        "jointImplicit" as const,
        "jointExplicit" as const,
      ),
      changes: fc.array(change, { maxLength: 7 }),
      context: data,
    }),
  );
  fc.assert(
    fc.property(any, (each) => assert.deepEqual(decodeConfChange(encodeConfChange(each)), each)),
  );
  const leave: ConfChange = {
    kind: "v2",
    transition: "auto",
    changes: [],
    context: Buffer.alloc(0),
  };
  assert.equal(encodeConfChange(leave).length, 0);
  assert.throws(() => decodeConfChange(Buffer.of(9, 9)), DecodeError);
});
