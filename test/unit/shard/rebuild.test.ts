/**
 * A store of which rows are missing is made consistent again: whatever is taken out of it, all rows
 * agree with each other afterwards, and a shard opens and works on it.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { toStoreId } from "../../../src/base/brand.ts";
import { checkInvariants, exportRows } from "../../../src/queue/invariants.ts";
import { keyBytes, prefixes } from "../../../src/queue/keys.ts";
import { emptyMembership } from "../../../src/raft/conf-change.ts";
import { readState } from "../../../src/shard/checkpoint.ts";
import { encodeEntry, LogStore } from "../../../src/shard/log-store.ts";
import { type RebuildReport, raiseTokensEntry, rebuildShard } from "../../../src/shard/rebuild.ts";
import { foundedBy } from "../../../src/shard/recovery.ts";
import type { Kv } from "../../../src/storage/kv.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { Stream } from "../../sim/random.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";
import { openShards } from "../router/shards.ts";

type Rows = ReadonlyMap<string, Buffer>;

const self = toStoreId(77);
const first = foundedBy([self], []);
let whole: Rows;

const disk = new VirtualDisk({ unit: () => 0.5, schedule: (done) => setImmediate(done) });
let stores = 0;

function emptyStore(): Promise<Kv> {
  return createMemoryKv(disk, `/store-${stores++}`, { createIfMissing: true });
}

async function storeOf(rows: Rows): Promise<Kv> {
  const kv = await emptyStore();
  const batch = kv.batch();
  for (const [key, value] of rows) batch.put(keyBytes(key), value);
  await batch.write();
  return kv;
}

async function rowsOf(kv: Kv): Promise<Map<string, Buffer>> {
  const all = { gte: Buffer.alloc(0), lt: Buffer.alloc(64, 0xff), limit: 1_000_000 };
  const rows = await kv.range(all);
  return new Map(rows.map(({ key, value }) => [key.toString("latin1"), value]));
}

before(async () => {
  const shards = await openShards(1);
  const [kv] = shards.stores as [Kv];
  const many = (queue: string, count: number, more = {}) =>
    shards.create(
      "t",
      Array.from({ length: count }, () => ({ queue, ...more })),
      "x".repeat(600),
    );
  await many("a", 300, { maxAttempts: 1 });
  await many("b", 40, { priority: 7 });
  await many("c", 30, { delayMs: 3_600_000 });
  for (let i = 0; i < 20; i++) await shards.create("u", [{ queue: "a" }], "small");
  for (const [queue, count] of [
    ["a", 120],
    ["b", 20],
  ] as const) {
    for (const grant of await shards.claim("t", queue, count)) {
      await shards.settle("t", (batch) => {
        for (let i = 0; i < grant.count; i++) {
          if (i % 4 === 0) batch.complete(grant.ids, 16 * i, grant.leaseToken, Buffer.from("9"));
          if (i % 4 === 1) batch.nack(grant.ids, 16 * i, grant.leaseToken, 0, "no");
          if (i % 4 === 2) batch.abandon(grant.ids, 16 * i, grant.leaseToken);
        }
      });
    }
  }
  await shards.close();
  whole = await rowsOf(kv);
});

after(() => {
  whole = new Map();
});

interface Built {
  readonly kv: Kv;
  readonly report: RebuildReport;
  readonly asides: number;
}

async function rebuild(rows: Rows, fence = { index: 0, term: 0 }): Promise<Built> {
  const source = await storeOf(rows);
  const kv = await emptyStore();
  let batch = kv.batch();
  let asides = 0;
  const sink = {
    put: (key: Uint8Array, value: Uint8Array) => batch.put(key, value),
    turn: async () => {
      await batch.write();
      batch = kv.batch();
    },
  };
  const report = await rebuildShard(source, sink, {
    group: { membership: { ...emptyMembership, voters: [self] }, members: [] },
    first: { index: first.cutIndex, term: first.cutTerm },
    ...{ fence, term: 3 },
    aside: () => asides++,
  });
  await batch.write();
  return { kv, report, asides };
}

/** Rows and counters agree, and the log goes on from the rows to the last entry. */
async function check({ kv, report }: Built): Promise<void> {
  const { state, applied } = await readState(kv, first);
  assert.deepEqual(applied, report.applied);
  const stored = [...(await rowsOf(kv))];
  checkInvariants(state, exportRows(state, stored));
  const log = await LogStore.open(kv, { term: 9, vote: 0 } as never, applied.index, first);
  assert.equal(log.lastIndex(), report.last.index);
  assert.deepEqual(log.initialState().membership.voters, [self]);
}

describe("a shard's store", () => {
  test("that is whole stays as it is, but for the log's end", async () => {
    const built = await rebuild(whole);
    await check(built);
    const { report } = built;
    assert.equal(report.isPointLost, false);
    assert.deepEqual(
      [report.tasks, report.queues, built.asides],
      [390, 4, 0],
      "all tasks in all queues",
    );
    const lost = [report.withoutPayload, report.withoutState, report.withoutResult];
    assert.deepEqual([...lost, report.missingRows, report.strayRows], [0, 0, 0, 0, 0]);
    const rows = await rowsOf(built.kv);
    for (const [key, value] of whole) {
      if (key.startsWith(prefixes.log) || key.startsWith(prefixes.meta)) continue;
      assert.ok(rows.get(key)?.equals(value), Buffer.from(key, "latin1").toString("hex"));
    }
  });

  for (let seed = 1; seed <= 60; seed++) {
    test(`from which rows are taken at random is consistent again: seed ${seed}`, async () => {
      const stream = new Stream(seed, "rows");
      const share = stream.pick([0.01, 0.1, 0.5]);
      const rows = new Map([...whole].filter(() => stream.unit() > share));
      const built = await rebuild(rows);
      await check(built);
      assert.ok(built.report.tasks <= 390);
    });
  }

  test("without its counters begins behind all that was, and applies nothing twice", async () => {
    const rows = new Map([...whole].filter(([key]) => key !== `${prefixes.meta}state`));
    const built = await rebuild(rows, { index: 5000, term: 4 });
    await check(built);
    const { report } = built;
    assert.equal(report.isPointLost, true);
    assert.ok(report.applied.index > 5000);
    const { state } = await readState(built.kv, first);
    assert.ok(state.counters.tokenOffset >= 2 ** 30);
    assert.ok(state.counters.nextSeq > report.maxSeq && state.counters.nextQueueId > 4);
  });

  test("with counters that are older than its rows counts as without", async () => {
    const older = new Map(whole);
    const key = `${prefixes.meta}state`;
    const row = Buffer.from(whole.get(key) as Buffer);
    row.fill(0, 16, 22);
    older.set(key, row);
    assert.equal((await rebuild(older)).report.isPointLost, true);
  });

  test("puts aside what cannot be read, and counts what is lost with it", async () => {
    const rows = new Map(whole);
    const runs = [...rows.keys()].filter((key) => key.startsWith(prefixes.run));
    const payloads = [...rows.keys()].filter((key) => key.startsWith(prefixes.payload));
    rows.set(runs[0] as string, Buffer.from("no run"));
    rows.delete(payloads.at(-1) as string);
    const built = await rebuild(rows);
    await check(built);
    const { brokenRuns, withoutQueue, withoutPayload, withoutState } = built.report;
    assert.deepEqual([brokenRuns, withoutQueue], [1, 0]);
    assert.ok(withoutPayload > 0 && withoutState > 0);
    assert.ok(built.asides >= 3);
  });

  test("cuts its log at the first gap, and says what it lost", async () => {
    const rows = new Map(whole);
    const { report: before } = await rebuild(rows);
    const keyAt = (index: number) => {
      const key = Buffer.alloc(9);
      key.write(prefixes.log);
      key.writeBigUInt64BE(BigInt(index), 1);
      return key.toString("latin1");
    };
    const { index, term } = before.applied;
    for (const at of [1, 2, 4, 5]) {
      rows.set(keyAt(index + at), encodeEntry(raiseTokensEntry(index + at, term, 0)));
    }
    const built = await rebuild(rows, { index: index + 9, term: 1 });
    await check(built);
    assert.equal(built.report.last.index, index + 3, "two entries and the one that raises tokens");
    assert.equal(built.report.lastKnown, index + 9);
    assert.deepEqual(built.report.gaps.at(-1), { from: index + 3, to: index + 3 });
  });
});
