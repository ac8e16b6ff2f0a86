import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ClassicLevel } from "classic-level";
import { StorageError } from "../../../src/storage/kv.ts";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { liveTables } from "../../../src/storage/manifest.ts";
import { createNodeFiles } from "../../../src/storage/node-files.ts";
import { checkTablesAtStart, startScrub } from "../../../src/storage/scrub.ts";
import { tableFiles } from "../../../src/storage/table-check.ts";

const MiB = 1024 * 1024;

describe("tables of a store", () => {
  const directory = mkdtempSync(join(tmpdir(), "quorumq-scrub-"));
  const path = join(directory, "db");
  const files = createNodeFiles();
  let turns = 0;
  const turn = (): Promise<void> => {
    turns++;
    return Promise.resolve();
  };

  before(async () => {
    // A small write buffer and overwritten keys: flushes, compactions, tables that come and go.
    const kv = await createLevelKv(path, { createIfMissing: true, writeBufferBytes: 1 * MiB });
    const value = Buffer.alloc(2000, "v");
    for (let round = 0; round < 40; round++) {
      const batch = kv.batch();
      for (let i = 0; i < 200; i++)
        batch.put(Buffer.from(`key-${(i * 7) % 1000}-${round % 10}`), value);
      await batch.write();
    }
    await kv.close();
    // Recovery turns the log into a table, and removes what is no longer needed.
    const again = await createLevelKv(path, { createIfMissing: false, writeBufferBytes: 1 * MiB });
    await again.close();
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  test("the MANIFEST names the tables that LevelDB says it has", async () => {
    const level = new ClassicLevel(path);
    await level.open({ compression: false });
    // Compacted, so that nothing is left to do in the background.
    await level.compactRange("", "~");
    // Per table a line " <number>:<size>[…]".
    const told = level.getProperty("leveldb.sstables").matchAll(/^ (\d+):\d+\[/gm);
    const numbers = [...told].map((match) => Number(match[1])).sort((x, y) => x - y);
    assert.ok(numbers.length > 0);
    assert.deepEqual(liveTables(files, path), numbers);
    await level.close();
  });

  test("a table that was being written at a crash is no part of the store", async () => {
    const torn = join(path, "999999.ldb");
    writeFileSync(torn, "half a table");
    await checkTablesAtStart(files, path, 512 * MiB, turn);
    rmSync(torn);
  });

  test("a bit that flipped in a table refuses the store", async () => {
    const table = tableFiles(files, path).at(-1) ?? "";
    const whole = readFileSync(table);
    const broken = Buffer.from(whole);
    broken[100] = (broken[100] as number) ^ 4;
    writeFileSync(table, broken);
    await assert.rejects(
      checkTablesAtStart(files, path, 512 * MiB, turn),
      (error) => error instanceof StorageError && error.code === "corrupt",
    );
    writeFileSync(table, whole);
    turns = 0;
    await checkTablesAtStart(files, path, 512 * MiB, turn);
    assert.equal(turns, tableFiles(files, path).length, "others have their turn after each table");
  });

  test("the MANIFEST's end may be torn, its middle may not", () => {
    const manifest = join(path, readFileSync(join(path, "CURRENT"), "utf8").trim());
    const whole = readFileSync(manifest);
    const live = liveTables(files, path);
    writeFileSync(manifest, Buffer.concat([whole, Buffer.from([1, 2, 3, 4, 200, 0, 1, 9])]));
    assert.deepEqual(liveTables(files, path), live);
    const broken = Buffer.from(whole);
    broken[7] = 99; // the first edit's first tag
    writeFileSync(manifest, broken);
    assert.throws(() => liveTables(files, path), StorageError);
    writeFileSync(manifest, whole);
  });

  test("the scrub goes through every table at its pace, again and again, and tells of damage", () => {
    const timers: { readonly delayMs: number; readonly run: () => void }[] = [];
    let now = 0;
    const found: unknown[] = [];
    const scrub = startScrub(
      {
        files,
        clock: { monotonicMs: () => now, wallMs: () => now },
        timers: {
          after: (delayMs, run) => {
            timers.push({ delayMs, run });
            return { cancel: () => undefined };
          },
          soon: () => undefined,
        },
        onCorrupt: (error) => found.push(error),
      },
      () => [path],
    );
    const round = () => {
      const rounds = scrub.rounds;
      for (let i = 0; i < 10_000 && scrub.rounds === rounds && found.length === 0; i++) {
        const timer = timers.shift();
        if (!timer) return;
        now += timer.delayMs;
        timer.run();
      }
    };
    round();
    const total = tableFiles(files, path).reduce((sum, table) => sum + files.sizeSync(table), 0);
    assert.equal(scrub.bytes, total);
    assert.equal(scrub.rounds, 1);
    const table = tableFiles(files, path)[0] ?? "";
    const whole = readFileSync(table);
    const broken = Buffer.from(whole);
    broken[50] = (broken[50] as number) ^ 1;
    writeFileSync(table, broken);
    round();
    assert.equal(found.length, 1);
    writeFileSync(table, whole);
  });
});
