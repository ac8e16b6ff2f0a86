import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LogIndex, StoreId, Term } from "../../../src/base/brand.ts";
import { ByteWriter, DecodeError } from "../../../src/base/bytes.ts";
import { limits } from "../../../src/base/limits.ts";
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
    const prevTerm = Math.min(prevIndex, 1) as Term;
    let at = 1;
    const entries = steps.map(({ rise, type, data }, i): Entry => {
      at += rise;
      return { index: (prevIndex + 1 + i) as LogIndex, term: at as Term, type, data };
    });
    const own = { ...head, term: Math.max(head.term, at) as Term };
    return { kind: "append", ...own, prevIndex, prevTerm, commit, entries };
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
const lower = (a: Term, b: Term): Term => Math.min(a, b) as Term;
const message: fc.Arbitrary<NetworkMessage> = fc.oneof(
  append,
  fc.tuple(head, record({ reject: bool, index, hintIndex: index, hintTerm: term })).map(
    ([head, body]): NetworkMessage => ({
      kind: "appendResponse",
      ...head,
      ...body,
      hintTerm: lower(body.hintTerm, head.term),
    }),
  ),
  fc
    .tuple(
      head,
      of("vote", "preVote"),
      record({ lastIndex: index, lastTerm: term, transfer: bool }),
    )
    .map(
      ([head, kind, body]): NetworkMessage => ({
        kind,
        ...head,
        ...body,
        lastTerm: body.lastIndex === 0 ? (0 as Term) : lower(body.lastTerm, head.term),
      }),
    ),
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
      snapshot: { index: (at + 1) as LogIndex, term: lower(at, head.term), membership },
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

/** A message whose fields behind the head are these varints; the first ones may be flags. */
function raw(kind: number, own: number, ...fields: readonly number[]): Buffer {
  const writer = new ByteWriter();
  writer.u8(1);
  writer.u8(kind);
  for (const field of [1, 2, own, ...fields]) writer.varint(field);
  return writer.finish();
}

const over = 2 ** 53;
const entryOf = (own: number) => [0, own, 0];

test("5.3-07 places that no log can have are refused as bytes", () => {
  const [append, appendResponse, vote, preVote, snapshot] = [0, 1, 2, 4, 8];
  const refused: readonly (readonly [string, Buffer])[] = [
    ["a term below the one before", raw(append, 5, 0, 0, 0, 2, ...entryOf(5), ...entryOf(4))],
    ["a term below the one at prev", raw(append, 5, 9, 4, 0, 1, ...entryOf(3))],
    ["a term above the leader's", raw(append, 5, 0, 0, 0, 1, ...entryOf(6))],
    ["a prev above the leader's term", raw(append, 5, 9, 6, 0, 0)],
    ["an entry without a term", raw(append, 5, 0, 0, 0, 1, ...entryOf(0))],
    ["a prev without a term", raw(append, 5, 9, 0, 0, 0)],
    ["a term before the first entry", raw(append, 5, 0, 3, 0, 0)],
    ["a place of no integer", raw(append, 5, over, 1, 0, 0)],
    ["an entry past the last integer", raw(append, 5, over - 1, 1, 0, 1, ...entryOf(5))],
    ["a commit of no integer", raw(append, 5, 0, 0, over, 0)],
    ["a term of no integer", raw(append, over, 0, 0, 0, 0)],
    ["more entries than are sent", manyEntries(limits.appendEntries + 1)],
    ["a hint above the sender's term", raw(appendResponse, 5, 1, 9, 9, 6)],
    ["a candidate behind its own log", raw(vote, 5, 0, 9, 6)],
    ["a last entry without a term", raw(preVote, 5, 0, 9, 0)],
    ["a last term without an entry", raw(preVote, 5, 0, 0, 4)],
    ["a snapshot above the leader's term", raw(snapshot, 5, 9, 6, 0, 0, 0, 0, 0)],
  ];
  for (const [what, bytes] of refused) {
    assert.throws(() => decodeMessage(bytes), DecodeError, what);
  }
  const taken = [
    raw(append, 5, 0, 0, 0, 2, ...entryOf(4), ...entryOf(5)),
    raw(append, 5, 9, 4, 12, 1, ...entryOf(4)),
    raw(appendResponse, 5, 1, 9, 9, 5),
    raw(vote, 5, 0, 9, 5),
    raw(snapshot, 5, 9, 5, 0, 0, 0, 0, 0),
    manyEntries(limits.appendEntries),
  ];
  for (const bytes of taken) decodeMessage(bytes);
});

function manyEntries(count: number): Buffer {
  const entry = Buffer.from(entryOf(5));
  return Buffer.concat([raw(0, 5, 0, 0, 0, count), Buffer.alloc(count * entry.length, entry)]);
}

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
