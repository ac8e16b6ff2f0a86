/** What is whole of a damaged LevelDB store comes out of it, and nothing else. */
import assert from "node:assert/strict";
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { createNodeFiles } from "../../../src/storage/node-files.ts";
import { salvageStore } from "../../../src/storage/salvage.ts";
import { tableFiles } from "../../../src/storage/table-check.ts";
import { rescueTable, tableEntries } from "../../../src/storage/table-rescue.ts";

const MiB = 1024 * 1024;
const files = createNodeFiles();
const root = mkdtempSync(join(tmpdir(), "quorumq-salvage-"));
const whole = join(root, "whole");
/** Values by key, as they were written last. */
const wanted = new Map<string, string>();
/** All that was ever written. */
const everything = new Set<string>();

after(() => rmSync(root, { recursive: true, force: true }));

before(async () => {
  // Rows that are overwritten and deleted, so that tables hold versions that others hide.
  const kv = await createLevelKv(whole, { createIfMissing: true, writeBufferBytes: MiB });
  for (let round = 0; round < 24; round++) {
    const batch = kv.batch();
    for (let i = 0; i < 400; i++) {
      const key = `key-${(i * 31 + round * 7) % 3000}`;
      if ((i + round) % 9 === 0) {
        batch.del(Buffer.from(key));
        wanted.delete(key);
        continue;
      }
      const value = `${key}=${round}-${"v".repeat(300 + (i % 200))}`;
      batch.put(Buffer.from(key), Buffer.from(value));
      wanted.set(key, value);
      everything.add(value);
    }
    await batch.write();
  }
  await kv.close();
  const again = await createLevelKv(whole, { createIfMissing: false, writeBufferBytes: MiB });
  await again.close();
});

let copies = 0;

function hurt(how: (path: string, tables: readonly string[]) => void): string {
  const path = join(root, `hurt-${copies++}`);
  cpSync(whole, path, { recursive: true });
  how(path, tableFiles(files, path));
  return path;
}

function flip(path: string, at: number, bit: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
  writeFileSync(path, bytes);
}

interface Outcome {
  /** Rows as they were written last, in an older version, or not there although they were. */
  right: number;
  older: number;
  missing: number;
  /** Rows that were deleted, and are there again. */
  back: number;
  readonly damages: readonly string[];
  readonly bad: number;
}

async function outcomeOf(path: string): Promise<Outcome> {
  const before = readdirSync(path).map((name) => readFileSync(join(path, name)));
  const salvage = await salvageStore(files, path, `${path}.copy`);
  const range = { gte: Buffer.from("key"), lt: Buffer.from("kez"), limit: 1_000_000 };
  const rows = await salvage.kv.range(range);
  const { damages } = salvage;
  const found = new Map(rows.map(({ key, value }) => [key.toString(), value.toString()]));
  const outcome = { right: 0, older: 0, missing: 0, back: 0, damages, bad: salvage.bad.length };
  for (const [key, value] of found) {
    assert.ok(everything.has(value) && value.startsWith(`${key}=`), `made up: ${key}`);
    if (!wanted.has(key)) outcome.back++;
    else if (wanted.get(key) === value) outcome.right++;
    else outcome.older++;
  }
  for (const key of wanted.keys()) if (!found.has(key)) outcome.missing++;
  await salvage.close();
  const after = readdirSync(path).map((name) => readFileSync(join(path, name)));
  assert.deepEqual(after, before, "the damaged store is only read");
  return outcome;
}

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 0x7fff_ffff;
    return state / 0x7fff_ffff;
  };
}

describe("a store", () => {
  test("that is whole comes out whole", async () => {
    const { right, damages, bad } = await outcomeOf(hurt(() => undefined));
    assert.deepEqual([right, bad, damages.length], [wanted.size, 0, 0]);
  });

  for (let seed = 1; seed <= 12; seed++) {
    test(`with a flipped bit loses the row that it hit, or its block: seed ${seed}`, async () => {
      const random = randomFrom(seed);
      const path = hurt((_, tables) => {
        const table = tables[Math.floor(random() * tables.length)] as string;
        const { length } = readFileSync(table);
        flip(table, Math.floor(random() * length), Math.floor(random() * 8));
      });
      const { right, damages } = await outcomeOf(path);
      assert.ok(damages.length > 0, "it is told");
      // A block has about ten of these rows.
      assert.ok(right >= wanted.size - 12, `${right} of ${wanted.size}`);
    });
  }

  test("of which a table is gone loses what was in that one", async () => {
    const path = hurt((_, tables) => rmSync(tables[0] as string));
    const { right, missing, damages } = await outcomeOf(path);
    assert.match(damages.join(), /table \d+\.ldb: is gone/);
    assert.ok(right > 0 && missing > 0);
  });

  test("of which half a table is gone keeps the other half", async () => {
    const path = hurt((_, tables) => {
      const table = tables[0] as string;
      truncateSync(table, Math.floor(readFileSync(table).length / 2));
    });
    const whole = await outcomeOf(hurt((_, tables) => rmSync(tables[0] as string)));
    const half = await outcomeOf(path);
    assert.ok(half.right > whole.right + 50, `${half.right} and ${whole.right}`);
  });

  test("without a MANIFEST is put together from its tables", async () => {
    const path = hurt((store) => {
      for (const name of readdirSync(store)) {
        if (name.startsWith("MANIFEST")) rmSync(join(store, name));
      }
    });
    const { right, damages } = await outcomeOf(path);
    assert.equal(right, wanted.size);
    assert.ok(damages.length > 0);
  });

  test("of which nothing is left is empty", async () => {
    const path = hurt((store) => {
      for (const name of readdirSync(store)) rmSync(join(store, name));
    });
    const { right, missing } = await outcomeOf(path);
    assert.deepEqual([right, missing], [0, wanted.size]);
  });
});

describe("a table", () => {
  const isNever = () => false;

  function someTable(): Buffer {
    return readFileSync(tableFiles(files, whole)[0] as string);
  }

  test("that is whole is left alone", () => {
    const table = someTable();
    assert.equal(rescueTable(table, table.length, isNever).table, null);
  });

  test("with a broken block gives the entries of all others in place, and its own aside", () => {
    const table = someTable();
    const all = [...tableEntries(table)];
    const hit = Buffer.from(table);
    hit[5000] = (hit[5000] as number) ^ 4;
    const { table: mended, brokenBlocks, entries } = rescueTable(hit, hit.length, isNever);
    assert.ok(mended);
    assert.equal(brokenBlocks, 1);
    const kept = [...tableEntries(mended)];
    assert.ok(kept.length < all.length && kept.length >= all.length - 30);
    assert.ok(entries.length > 0);
    const known = new Set(all.map(({ key, sequence }) => `${key.toString("hex")}-${sequence}`));
    for (const { key, sequence } of kept)
      assert.ok(known.has(`${key.toString("hex")}-${sequence}`));
  });

  test("without its index is read block by block", () => {
    const table = someTable();
    const all = [...tableEntries(table)];
    const hit = Buffer.from(table);
    hit.fill(0, hit.length - 48);
    const isRecord = (_: Buffer, record: Buffer) => record.length > 100;
    const { table: mended, lostBytes } = rescueTable(hit, hit.length, isRecord);
    assert.ok(mended);
    assert.equal(lostBytes, 0);
    assert.equal([...tableEntries(mended)].length, all.length);
  });
});
