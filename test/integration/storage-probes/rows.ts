/** Rows whose value follows from their key, so that every reader can tell a wrong one. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ClassicLevel } from "classic-level";
import type { Kv, KvRow } from "../../../src/storage/kv.ts";

export const all = { gte: Buffer.alloc(0), lt: Buffer.alloc(8, 255), limit: 1_000_000 };

export function rowKey(i: number): Buffer {
  return Buffer.from(`key${String(i).padStart(6, "0")}`);
}

export function rowValue(i: number, bytes: number): Buffer {
  return Buffer.alloc(bytes, `value ${i} `);
}

/** Writes rows from..to-1, `perBatch` in each synced batch. */
export async function writeRows(
  kv: Kv,
  rows: { readonly from: number; readonly to: number; readonly bytes: number },
  perBatch: number,
): Promise<void> {
  for (let i = rows.from; i < rows.to; ) {
    const batch = kv.batch();
    for (let n = 0; n < perBatch && i < rows.to; n++, i++) {
      batch.put(rowKey(i), rowValue(i, rows.bytes));
    }
    await batch.write();
  }
}

/** Numbers of the rows read; a wrong value fails the test. */
export function checkRows(rows: readonly KvRow[], bytes: number): Set<number> {
  const found = new Set<number>();
  for (const { key, value } of rows) {
    const i = Number(key.toString().slice(3));
    assert.deepEqual(key, rowKey(i), "a key that was never written");
    assert.ok(value.equals(rowValue(i, bytes)), `a wrong value of ${key.toString()}`);
    found.add(i);
  }
  return found;
}

/** Moves all of a closed store into tables. */
export async function compact(path: string): Promise<void> {
  const level = new ClassicLevel<Buffer, Buffer>(path, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    compression: false,
  });
  await level.open();
  await level.compactRange(all.gte, all.lt);
  await level.close();
}

/** Paths of the store's files with this ending. */
export function storeFiles(path: string, ending: string): string[] {
  return readdirSync(path)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(path, name))
    .sort();
}
