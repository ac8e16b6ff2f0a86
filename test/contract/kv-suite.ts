/**
 * What every Kv must do, whatever is underneath. Run for LevelKv and MemoryKv; a harness gives
 * stores in one place that can be opened again, and the few ways of damage that all can suffer.
 */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import fc from "fast-check";
import { InvariantError } from "../../src/base/assert.ts";
import { type Kv, type KvRow, StorageError, type StorageErrorCode } from "../../src/storage/kv.ts";

export interface KvHarness {
  /** Opens the store of this harness; the same one each time. */
  open(options?: { readonly createIfMissing: boolean }): Promise<Kv>;
  /** Puts raw bytes where the record of a key stands. The store is closed. */
  putRaw(key: Buffer, record: Buffer): Promise<void>;
  /** The raw record of a key. The store is closed. */
  getRaw(key: Buffer): Promise<Buffer>;
  /** Removes everything. */
  end(): Promise<void>;
}

const k = (text: string): Buffer => Buffer.from(text, "latin1");
const all = { gte: Buffer.alloc(0), lt: Buffer.alloc(16, 255), limit: 1_000_000 };

export function runKvSuite(name: string, createHarness: () => Promise<KvHarness>): void {
  describe(`Kv contract: ${name}`, () => {
    const ends: (() => Promise<void>)[] = [];

    afterEach(async () => {
      for (const end of ends.splice(0).reverse()) await end();
    });

    async function harness(): Promise<KvHarness> {
      const made = await createHarness();
      ends.push(() => made.end());
      return made;
    }

    async function opened(made: KvHarness): Promise<Kv> {
      const kv = await made.open();
      ends.push(() => kv.close());
      return kv;
    }

    async function fresh(): Promise<Kv> {
      return opened(await harness());
    }

    readsAndWrites(fresh);
    ranges(fresh);
    lifecycle(harness, opened, fresh);
    damage(harness, opened);
  });
}

function readsAndWrites(fresh: () => Promise<Kv>): void {
  it("gives undefined for keys that are not there", async () => {
    const kv = await fresh();
    assert.equal(kv.getSync(k("a")), undefined);
    assert.equal(await kv.get(k("a")), undefined);
    assert.deepEqual(await kv.getMany([k("a"), k("b")]), [undefined, undefined]);
    assert.deepEqual(await kv.range(all), []);
  });

  it("keeps every row through a compaction, while others are written", async () => {
    const kv = await fresh();
    for (let round = 0; round < 5; round++) {
      await put(kv, { a: `1-${round}`, b: "2", c: "3" });
      const compacting = kv.compact(k("A"), k("z"));
      await put(kv, { d: `4-${round}` });
      await compacting;
    }
    assert.deepEqual(
      (await kv.range(all)).map(({ value }) => value.toString()),
      ["1-4", "2", "3", "4-4"],
    );
    assert.ok(kv.writtenBytes > 50, `${kv.writtenBytes}`);
    assert.equal(typeof (await kv.sizeOf(k("a"), k("z"))), "number");
  });

  it("gives back what was written, by every way of reading", async () => {
    const kv = await fresh();
    await put(kv, { a: "1", b: "", c: "x".repeat(1 << 20) });
    assert.deepEqual(kv.getSync(k("a")), k("1"));
    assert.deepEqual(await kv.get(k("b")), k(""));
    const many = await kv.getMany([k("c"), k("none"), k("a")]);
    assert.deepEqual(many, [k("x".repeat(1 << 20)), undefined, k("1")]);
    assert.deepEqual(keysOf(await kv.range(all)), ["a", "b", "c"]);
  });

  it("shows nothing of a batch before it is written", async () => {
    const kv = await fresh();
    const batch = kv.batch();
    batch.put(k("a"), k("1"));
    assert.equal(kv.getSync(k("a")), undefined);
    await batch.write();
    assert.deepEqual(kv.getSync(k("a")), k("1"));
  });

  it("takes over keys and values at once, so that buffers can be reused", async () => {
    const kv = await fresh();
    const batch = kv.batch();
    const key = k("key1");
    const value = k("value1");
    batch.put(key, value);
    key.write("key2");
    value.write("value2");
    batch.put(key, value);
    batch.put(k("gone"), k("x"));
    await batch.write();
    const erase = kv.batch();
    const erased = k("gone");
    erase.del(erased);
    erased.write("key1");
    await erase.write();
    assert.deepEqual(texts(await kv.range(all)), ["key1=value1", "key2=value2"]);
  });

  it("lets the later operation on a key of one batch win", async () => {
    const kv = await fresh();
    const batch = kv.batch();
    batch.put(k("a"), k("1"));
    batch.del(k("a"));
    batch.del(k("b"));
    batch.put(k("b"), k("1"));
    batch.put(k("b"), k("2"));
    await batch.write();
    assert.deepEqual(texts(await kv.range(all)), ["b=2"]);
  });

  it("counts the operations and bytes of a batch", async () => {
    const kv = await fresh();
    const batch = kv.batch();
    assert.deepEqual([batch.ops, batch.bytes], [0, 0]);
    batch.put(k("abc"), k("12345"));
    batch.del(k("abcd"));
    assert.equal(batch.ops, 2);
    assert.equal(batch.bytes, 3 + 5 + 5 + 4);
    await batch.discard();
  });

  it("writes nothing of a discarded batch, and takes an empty one", async () => {
    const kv = await fresh();
    const batch = kv.batch();
    batch.put(k("a"), k("1"));
    await batch.discard();
    await kv.batch().write();
    assert.deepEqual(await kv.range(all), []);
  });

  it("takes keys and values that are plain Uint8Arrays", async () => {
    const kv = await fresh();
    const batch = kv.batch();
    batch.put(new Uint8Array([1, 2]), new Uint8Array([3]));
    await batch.write();
    assert.deepEqual(kv.getSync(new Uint8Array([1, 2])), Buffer.from([3]));
    assert.deepEqual(await kv.get(new Uint8Array([1, 2])), Buffer.from([3]));
  });

  it("refuses a second write while one is in flight: it would be lost if the first one fails", async () => {
    const kv = await fresh();
    const [first, second] = [kv.batch(), kv.batch()];
    first.put(k("a"), k("1"));
    second.put(k("b"), k("1"));
    const writing = first.write();
    await assert.rejects(second.write(), InvariantError);
    await writing;
    assert.deepEqual(keysOf(await kv.range(all)), ["a"]);
  });
}

function ranges(fresh: () => Promise<Kv>): void {
  it("gives a range in the order of bytes, its start included, its end excluded", async () => {
    const kv = await fresh();
    await put(kv, { "\x00": "0", "\x7f": "1", "\x80": "2", "\xff": "3", "\xff\x00": "4" });
    const range = { gte: k("\x7f"), lt: k("\xff\x00"), limit: 10 };
    assert.deepEqual(texts(await kv.range(range)), ["\x7f=1", "\x80=2", "\xff=3"]);
    const back = await kv.range({ ...range, reverse: true });
    assert.deepEqual(texts(back), ["\xff=3", "\x80=2", "\x7f=1"]);
  });

  it("stops at the limits of rows and of bytes, but gives one row at least", async () => {
    const kv = await fresh();
    await put(kv, { a: "1234", b: "1234", c: "1234" });
    assert.deepEqual(keysOf(await kv.range({ ...all, limit: 2 })), ["a", "b"]);
    assert.deepEqual(keysOf(await kv.range({ ...all, limit: 2, reverse: true })), ["c", "b"]);
    assert.deepEqual(keysOf(await kv.range({ ...all, limitBytes: 10 })), ["a", "b"]);
    assert.deepEqual(keysOf(await kv.range({ ...all, limitBytes: 9 })), ["a"]);
    assert.deepEqual(keysOf(await kv.range({ ...all, limitBytes: 1 })), ["a"]);
  });

  it("gives all rows of a range that is longer than one chunk", async () => {
    const kv = await fresh();
    const batch = kv.batch();
    for (let i = 0; i < 2500; i++) batch.put(k(String(i).padStart(5, "0")), Buffer.alloc(700, i));
    await batch.write();
    const rows = await kv.range(all);
    assert.equal(rows.length, 2500);
    assert.equal(rows[2499]?.key.toString(), "02499");
    assert.deepEqual(rows[2499]?.value, Buffer.alloc(700, 2499));
  });

  it("reads a range from the state at the call", async () => {
    const kv = await fresh();
    await put(kv, { a: "1", b: "1" });
    const reading = kv.range(all);
    await put(kv, { a: "2", c: "2" });
    assert.deepEqual(texts(await reading), ["a=1", "b=1"]);
    assert.deepEqual(texts(await kv.range(all)), ["a=2", "b=1", "c=2"]);
  });

  it("agrees with a sorted map over any history", async () => {
    const keys = fc.constantFrom("", "a", "ab", "b", "\x00", "\xff", "\xff\xff", "c\x00d");
    const op = fc.record({ key: keys, value: fc.option(fc.string({ maxLength: 8 })) });
    const history = fc.array(fc.array(op, { maxLength: 6 }), { maxLength: 6 });
    const kv = await fresh();
    const query = fc.record({ gte: keys, lt: keys, limit: fc.integer({ min: 1, max: 5 }) });
    const check = fc.asyncProperty(history, query, fc.boolean(), async (batches, ask, reverse) => {
      const model = new Map<string, string>();
      const clean = kv.batch();
      for (const row of await kv.range(all)) clean.del(row.key);
      await clean.write();
      for (const ops of batches) await writeBoth(kv, model, ops);
      const range = { gte: k(ask.gte), lt: k(ask.lt), limit: ask.limit, reverse };
      const sorted = [...model].filter(([key]) => key >= ask.gte && key < ask.lt).sort(byKey);
      if (reverse) sorted.reverse();
      const want = sorted.slice(0, ask.limit).map(([key, value]) => `${key}=${value}`);
      assert.deepEqual(texts(await kv.range(range)), want);
    });
    await fc.assert(check, { numRuns: 60 });
  });
}

function lifecycle(
  harness: () => Promise<KvHarness>,
  opened: (made: KvHarness) => Promise<Kv>,
  fresh: () => Promise<Kv>,
): void {
  it("keeps what was written when it is closed and opened again", async () => {
    const made = await harness();
    const kv = await opened(made);
    await put(kv, { a: "1", b: "2" });
    assert.ok((await kv.diskBytes()) > 0);
    await kv.close();
    const again = await opened(made);
    assert.deepEqual(texts(await again.range(all)), ["a=1", "b=2"]);
  });

  it("is open once: a second opening is refused as locked", async () => {
    const made = await harness();
    await opened(made);
    await assert.rejects(made.open(), code("locked"));
  });

  it("makes no store where there should be one", async () => {
    const made = await harness();
    await assert.rejects(made.open({ createIfMissing: false }), code("missing"));
  });

  it("waits for the write in flight, then refuses everything as closed", async () => {
    const made = await harness();
    const kv = await opened(made);
    const batch = kv.batch();
    batch.put(k("a"), k("1"));
    const writing = batch.write();
    await kv.close();
    await writing;
    await kv.close();
    await refusesAll(kv, "closed");
    assert.deepEqual(texts(await (await opened(made)).range(all)), ["a=1"]);
  });

  it("offers no snapshot, no iterator and no clear: stale reads cannot be asked for", async () => {
    const kv = await fresh();
    const names = new Set<string>();
    for (let at: object | null = kv; at !== null && at !== Object.prototype; ) {
      for (const name of Object.getOwnPropertyNames(at)) names.add(name);
      at = Object.getPrototypeOf(at) as object | null;
    }
    const reach = ["constructor", "assertUsable", "write"]; // for its own batches
    for (const name of reach) names.delete(name);
    const port =
      "batch close compact diskBytes get getMany getSync range sizeOf writtenBytes".split(" ");
    assert.deepEqual([...names].sort(), port);
  });
}

function damage(harness: () => Promise<KvHarness>, opened: (made: KvHarness) => Promise<Kv>): void {
  const reads: readonly [string, (kv: Kv) => Promise<unknown>][] = [
    ["getSync", async (kv) => kv.getSync(k("a"))],
    ["get", (kv) => kv.get(k("a"))],
    ["getMany", (kv) => kv.getMany([k("b"), k("a")])],
    ["range", (kv) => kv.range(all)],
  ];
  for (const [way, read] of reads) {
    it(`finds a flipped bit in ${way}, and refuses everything from then on`, async () => {
      const made = await harness();
      await writeOnce(made, { a: "payload", b: "other" });
      const record = await made.getRaw(k("a"));
      record[3] = (record[3] as number) ^ 0x10;
      await made.putRaw(k("a"), record);
      const kv = await opened(made);
      await assert.rejects(read(kv), code("corrupt"));
      await refusesAll(kv, "io");
    });
  }

  it("finds a record that stands under another key", async () => {
    const made = await harness();
    await writeOnce(made, { a: "of a", b: "of b" });
    await made.putRaw(k("a"), await made.getRaw(k("b")));
    const kv = await opened(made);
    assert.throws(() => kv.getSync(k("a")), code("corrupt"));
  });

  it("finds every single flipped bit and every cut of a record", async () => {
    const made = await harness();
    await writeOnce(made, { a: "xyz" });
    const record = await made.getRaw(k("a"));
    const damaged: Buffer[] = [Buffer.alloc(0)];
    for (let size = 1; size < record.length; size++) damaged.push(record.subarray(0, size));
    for (let bit = 0; bit < record.length * 8; bit += 7) {
      const copy = Buffer.from(record);
      copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
      damaged.push(copy);
    }
    for (const bytes of damaged) {
      await made.putRaw(k("a"), bytes);
      const kv = await made.open();
      assert.throws(() => kv.getSync(k("a")), code("corrupt"), bytes.toString("hex"));
      await kv.close();
    }
  });
}

/** @param wanted - the code that a StorageError must have */
export function code(wanted: StorageErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.code, wanted, error.message);
    return true;
  };
}

export async function refusesAll(kv: Kv, wanted: StorageErrorCode): Promise<void> {
  assert.throws(() => kv.getSync(k("b")), code(wanted));
  assert.throws(() => kv.batch(), code(wanted));
  await assert.rejects(kv.get(k("b")), code(wanted));
  await assert.rejects(kv.getMany([k("b")]), code(wanted));
  await assert.rejects(kv.range(all), code(wanted));
  await assert.rejects(kv.diskBytes(), code(wanted));
}

async function writeBoth(
  kv: Kv,
  model: Map<string, string>,
  ops: readonly { readonly key: string; readonly value: string | null }[],
): Promise<void> {
  const batch = kv.batch();
  for (const { key, value } of ops) {
    if (value === null) {
      batch.del(k(key));
      model.delete(key);
    } else {
      batch.put(k(key), k(value));
      model.set(key, k(value).toString("latin1"));
    }
  }
  await batch.write();
}

async function writeOnce(made: KvHarness, rows: Readonly<Record<string, string>>): Promise<void> {
  const kv = await made.open();
  await put(kv, rows);
  await kv.close();
}

async function put(kv: Kv, rows: Readonly<Record<string, string>>): Promise<void> {
  const batch = kv.batch();
  for (const [key, value] of Object.entries(rows)) batch.put(k(key), k(value));
  await batch.write();
}

function keysOf(rows: readonly KvRow[]): string[] {
  return rows.map((row) => row.key.toString("latin1"));
}

function texts(rows: readonly KvRow[]): string[] {
  return rows.map((row) => `${row.key.toString("latin1")}=${row.value.toString("latin1")}`);
}

function byKey(a: readonly [string, string], b: readonly [string, string]): number {
  return a[0] < b[0] ? -1 : 1;
}
