/** One flipped bit on disk: LevelDB 1.20 says nothing, so our own checks must (FAULTS F1). */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { StorageError } from "../../../src/storage/kv.ts";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { createNodeFiles } from "../../../src/storage/node-files.ts";
import { checkStoreLog } from "../../../src/storage/store-log.ts";
import { checkTable, tableFiles } from "../../../src/storage/table-check.ts";
import { code } from "../../contract/kv-suite.ts";
import { Cleanup, makeDirectory } from "./machine.ts";
import { all, checkRows, compact, storeFiles, writeRows } from "./rows.ts";

const cleanup = new Cleanup();
const files = createNodeFiles();
const rows = { from: 0, to: 2000, bytes: 128 };

afterEach(() => cleanup.run());

async function writeStore(): Promise<string> {
  const path = join(makeDirectory(cleanup), "db");
  const kv = await createLevelKv(path, { createIfMissing: true });
  await writeRows(kv, rows, 10);
  await kv.close();
  return path;
}

describe("bit rot", () => {
  it("in a log file: the store opens, rows are missing from the middle, LOG gives it away", async () => {
    const path = await writeStore();
    const [log, ...others] = storeFiles(path, ".log");
    assert.ok(log !== undefined && others.length === 0);
    const bytes = readFileSync(log);
    flip(bytes, bytes.length * 4);
    writeFileSync(log, bytes);
    const kv = await createLevelKv(path, { createIfMissing: false });
    const found = checkRows(await kv.range(all), rows.bytes);
    await kv.close();
    assert.ok(found.size < 2000 && found.has(0) && found.has(1999), `${found.size} of 2000`);
    assert.throws(() => checkStoreLog(files, path), code("corrupt"));
  });

  it("in a table: 200 flips, no wrong value, and every one found by the check of tables", async () => {
    const path = await writeStore();
    await compact(path);
    const [table, ...others] = storeFiles(path, ".ldb");
    assert.ok(table !== undefined && others.length === 0);
    assert.deepEqual(tableFiles(files, path), [table]);
    checkTable(files, table);
    const whole = readFileSync(table);
    const flips = 200;
    let noticed = 0;
    for (let n = 0; n < flips; n++) {
      const bytes = Buffer.from(whole);
      flip(bytes, Math.floor(((n + 0.5) / flips) * whole.length * 8));
      writeFileSync(table, bytes);
      assert.throws(() => checkTable(files, table), code("corrupt"), `flip ${n}`);
      if ((await readAll(path)) === undefined) noticed++;
    }
    assert.ok(noticed >= flips * 0.8, `reads noticed ${noticed} of ${flips}`);
  });

  it("in the footer, the index or the end of a table: found by the check", async () => {
    const path = await writeStore();
    await compact(path);
    const table = tableFiles(files, path)[0] ?? "";
    const whole = readFileSync(table);
    for (let bit = (whole.length - 400) * 8; bit < whole.length * 8; bit++) {
      const bytes = Buffer.from(whole);
      flip(bytes, bit);
      writeFileSync(table, bytes);
      assert.throws(() => checkTable(files, table), code("corrupt"), `bit ${bit}`);
    }
    for (const size of [0, 47, 4096, whole.length - 1]) {
      writeFileSync(table, whole.subarray(0, size));
      assert.throws(() => checkTable(files, table), code("corrupt"), `${size} bytes`);
    }
  });
});

/** Numbers of all rows, or undefined where the damage was noticed. */
async function readAll(path: string): Promise<Set<number> | undefined> {
  const kv = await createLevelKv(path, { createIfMissing: false });
  try {
    return checkRows(await kv.range(all), rows.bytes);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return undefined;
  } finally {
    await kv.close();
  }
}

function flip(bytes: Buffer, bit: number): void {
  bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
}
