import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ByteWriter, DecodeError } from "../../../src/base/bytes.ts";
import { limits } from "../../../src/base/limits.ts";
import { backoffPolicies, type Command } from "../../../src/queue/command.ts";
import { EntryReader, EntryWriter } from "../../../src/queue/command-codec.ts";
import { columnCount, Run, taskState } from "../../../src/queue/run.ts";
import { decodeRun, encodeRun } from "../../../src/queue/run-codec.ts";
import { Queue, Tenant } from "../../../src/queue/state.ts";
import { encodeTaskRecord, RecordCursor, type TaskRecord } from "../../../src/queue/task-record.ts";

/** Objects as the code makes them: with a prototype. */
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true });
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((b) => Buffer.from(b));
const name = fc.stringMatching(/^[A-Za-z0-9._:-]{1,128}$/);
const tenant = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/);
const worker = fc.string({ unit: "grapheme", maxLength: 40 });
const key = fc.constantFrom(14, 16).map((size) => Buffer.alloc(size, 7));
const u16 = fc.nat({ max: 65_535 });
const ms = fc.nat({ max: 2 ** 47 });

const settings = plain({
  backoffPolicy: fc.constantFrom(...backoffPolicies),
  backoffBaseMs: ms,
  backoffMaxMs: ms,
  doneRetentionMs: ms,
  deadRetentionMs: ms,
});
const ids = fc.nat({ max: 5 }).map((n) => Buffer.alloc(16 * n, 9));
const command: fc.Arbitrary<Command> = fc.oneof(
  plain({
    kind: fc.constant("create" as const),
    tenant,
    queue: name,
    priority: fc.nat({ max: 9 }),
    key,
    count: fc.integer({ min: 1, max: 256 }),
    requestHash: fc.option(fc.constant(Buffer.alloc(16, 3))),
    records: bytes(300),
  }),
  plain({
    kind: fc.constant("claim" as const),
    tenant,
    queues: fc.option(fc.array(name, { maxLength: 5 })),
    count: fc.integer({ min: 1, max: 1000 }),
    bytesMax: fc.nat({ max: limits.claimHttpBytes }),
    leaseMs: fc.nat({ max: limits.leaseSecondsMax * 1000 }),
    workerId: worker,
  }),
  plain({
    kind: fc.constant("settle" as const),
    tenant,
    workerId: worker,
    count: u16,
    groups: bytes(300),
  }),
  plain({ kind: fc.constant("cancel" as const), tenant, key, place: fc.nat({ max: 255 }) }),
  plain({ kind: fc.constant("expire" as const), limit: u16 }),
  plain({ kind: fc.constant("redrive" as const), tenant, queue: name, ids, limit: u16 }),
  plain({ kind: fc.constant("purge" as const), tenant, queue: name, ids, states: u16 }),
  plain({ kind: fc.constant("pause" as const), tenant, queue: name, paused: fc.boolean() }),
  plain({ kind: fc.constant("configure" as const), settings }),
  fc.constant({ kind: "raiseTokens" as const }),
);

function readAll(entry: Buffer): Command[] {
  const reader = new EntryReader(entry);
  const commands: Command[] = [];
  for (let next = reader.next(); next; next = reader.next()) commands.push(next);
  return commands;
}

describe("entries", () => {
  it("gives back every command, in order, and the leader's time", () => {
    fc.assert(
      fc.property(ms, fc.array(command, { maxLength: 8 }), (timeMs, commands) => {
        const writer = new EntryWriter(timeMs, 16);
        for (const one of commands) writer.add(one);
        assert.equal(writer.count, commands.length);
        const entry = writer.finish();
        assert.equal(new EntryReader(entry).timeMs, timeMs);
        assert.deepEqual(readAll(entry), commands);
      }),
    );
  });

  it("refuses an entry that was cut short anywhere, or is longer than it says", () => {
    const writer = new EntryWriter(5, 16);
    writer.add({ kind: "pause", tenant: "acme", queue: "mail", paused: true });
    writer.add({ kind: "expire", limit: 10 });
    const entry = writer.finish();
    for (let size = 0; size < entry.length; size++) {
      assert.throws(() => readAll(entry.subarray(0, size)), DecodeError, `${size} bytes`);
    }
    assert.throws(() => readAll(Buffer.concat([entry, Buffer.alloc(1)])), DecodeError);
  });

  it("stops at another version, unknown flags and unknown commands", () => {
    const entry = Buffer.from(new EntryWriter(5, 16).finish());
    for (const at of [0, 1]) {
      const other = Buffer.from(entry);
      other[at] = 77;
      assert.throws(() => readAll(other), DecodeError);
    }
    const writer = new EntryWriter(5, 16);
    writer.add({ kind: "raiseTokens" });
    const unknown = Buffer.from(writer.finish());
    unknown[10] = 99;
    assert.throws(() => readAll(unknown), DecodeError);
  });

  it("holds at most as many commands as a lease token has places for", () => {
    const writer = new EntryWriter(5, 1 << 16);
    for (let i = 0; i < 4096; i++) writer.add({ kind: "expire", limit: 1 });
    assert.throws(() => writer.add({ kind: "expire", limit: 1 }), /commands in an entry/);
  });
});

const text = (max: number) => fc.string({ unit: "grapheme", maxLength: max });
const record: fc.Arbitrary<{ task: TaskRecord; payload: Buffer }> = plain({
  task: plain({
    maxAttempts: fc.integer({ min: 1, max: 1000 }),
    delayMs: fc.oneof(fc.constant(0), ms),
    runAtMs: fc.oneof(fc.constant(0), ms),
    extras: fc.option(plain({ webhook: text(300), traceParent: text(60), traceState: text(90) })),
  }),
  payload: bytes(200),
});

describe("task records", () => {
  it("gives back every record of a block", () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 6 }), (records) => {
        const out = new ByteWriter(16);
        for (const { task, payload } of records) {
          encodeTaskRecord(
            out,
            task,
            Buffer.concat([Buffer.of(1), payload]),
            1,
            payload.length + 1,
          );
        }
        const block = out.finish();
        const cursor = new RecordCursor(block);
        let from = 0;
        for (const { task, payload } of records) {
          cursor.next();
          assert.equal(cursor.maxAttempts, task.maxAttempts);
          assert.equal(cursor.runAtMs, task.runAtMs);
          assert.equal(cursor.delayMs, task.runAtMs > 0 ? 0 : task.delayMs);
          assert.deepEqual(cursor.extras(), task.extras);
          assert.deepEqual(block.subarray(cursor.payloadFrom, cursor.payloadTo), payload);
          from += cursor.size;
          assert.equal(cursor.at, from);
        }
        assert.equal(from, block.length);
        assert.throws(() => cursor.next(), DecodeError);
      }),
    );
  });

  it("refuses a block that was cut short anywhere", () => {
    const out = new ByteWriter(16);
    const extras = { webhook: "https://example.com/hook", traceParent: "", traceState: "" };
    const task = { maxAttempts: 5, delayMs: 9, runAtMs: 0, extras };
    encodeTaskRecord(out, task, Buffer.alloc(200), 0, 200);
    const block = out.finish();
    for (let size = 0; size < block.length; size++) {
      assert.throws(() => new RecordCursor(block, 0, size).next(), DecodeError, `${size} bytes`);
    }
  });
});

describe("run rows", () => {
  const queue = new Queue(7, new Tenant("acme"), "mail");
  const value = fc.oneof(fc.constant(0), fc.nat({ max: 300 }), fc.nat({ max: 2 ** 52 }));
  const column = (count: number) =>
    fc.oneof(
      value.map((one) => new Array<number>(count).fill(one)),
      fc.array(value, { minLength: count, maxLength: count }),
    );
  const run = fc.integer({ min: 1, max: 256 }).chain((count) =>
    plain({
      columns: fc.array(column(count), { minLength: columnCount, maxLength: columnCount }),
      states: fc.array(fc.nat({ max: 7 }), { minLength: count, maxLength: count }),
      holders: fc.array(fc.nat({ max: 4 }), { minLength: count, maxLength: count }),
      workers: fc.uniqueArray(fc.string({ unit: "grapheme", minLength: 1, maxLength: 9 }), {
        minLength: 4,
        maxLength: 4,
      }),
      hash: fc.option(fc.constant(Buffer.alloc(16, 5))),
      inline: fc.option(bytes(50)),
      priority: fc.nat({ max: 9 }),
      createdAt: ms,
    }),
  );

  it("gives back every column, worker and record, and counts what is left", () => {
    fc.assert(
      fc.property(run, ({ columns, states, holders, workers, ...rest }) => {
        const count = states.length;
        columns[0] = states;
        columns[6] = holders;
        const before = new Run({
          key: "k".repeat(14),
          count,
          queue,
          priority: rest.priority,
          createdAt: rest.createdAt,
          requestHash: rest.hash,
          columns: Float64Array.from(columns.flat()),
          inlineRecords: rest.inline,
          recordBytes: 1234,
        });
        before.workers = [...workers];
        const named = holders.map((_, i) => before.workerOf(i));
        const out = new ByteWriter(16);
        encodeRun(out, before);
        const after = decodeRun(before.key, out.copy(), (id) => (id === 7 ? queue : undefined));
        assert.deepEqual(after.columns, before.columns);
        assert.deepEqual(
          holders.map((_, i) => after.workerOf(i)),
          named,
        );
        assert.equal(after.live, states.filter((state) => state !== taskState.removed).length);
        const { priority, createdAt, requestHash, inlineRecords, recordBytes } = after;
        const got = { priority, createdAt, hash: requestHash, inline: inlineRecords, recordBytes };
        assert.deepEqual(got, { ...rest, recordBytes: 1234 });
        const again = new ByteWriter(16);
        encodeRun(again, after);
        assert.deepEqual(again.finish(), out.finish(), "equal runs have equal rows");
      }),
    );
  });

  it("refuses a row that was cut short in its columns, and one of an unknown queue", () => {
    const columns = new Float64Array(columnCount * 3).map((_, i) => i);
    const fields = { key: "k".repeat(14), count: 3, queue, priority: 1, createdAt: 9 };
    const rest = { requestHash: null, columns, inlineRecords: null, recordBytes: 1 };
    const out = new ByteWriter(16);
    const one = new Run({ ...fields, ...rest });
    one.columns.fill(0, 18, 21);
    encodeRun(out, one);
    const row = out.finish();
    for (let size = 0; size < row.length; size++) {
      assert.throws(() => decodeRun("k", row.subarray(0, size), () => queue), DecodeError);
    }
    assert.throws(() => decodeRun("k", row, () => undefined), DecodeError);
  });

  it("takes few bytes while its tasks agree", () => {
    const columns = new Float64Array(columnCount * 256);
    columns.fill(2, 0, 256);
    const fields = { key: "k".repeat(14), count: 256, queue, priority: 1, createdAt: 9 };
    const run256 = new Run({
      ...fields,
      requestHash: null,
      columns,
      inlineRecords: null,
      recordBytes: 30_000,
    });
    const out = new ByteWriter(16);
    encodeRun(out, run256);
    assert.ok(out.length <= 60, `${out.length} bytes`);
  });
});
