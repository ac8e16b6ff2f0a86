/** Makes a received store fit to be this replica's own: checked to the last record, its log cut. */
import { toLogIndex } from "../base/brand.ts";
import { endOfPrefix, keyBytes, prefixes } from "../queue/keys.ts";
import { type Kv, StorageError } from "../storage/kv.ts";
import { type AppliedPoint, readState } from "./checkpoint.ts";
import { commitKey, encodeLogStart, logStartKey, readLogStart } from "./log-store.ts";
import { dropCleanMark } from "./recovery.ts";

const readRows = 1000;

/**
 * Reads every record, so that each one's checksum is verified, and lets the log begin at the rows'
 * index: entries behind it may not be committed, and the leader sends them anyway.
 * @throws StorageError corrupt: a record fails its check, or the rows are not of that index;
 * the signal's reason, between two reads
 */
export async function prepareStore(
  kv: Kv,
  point: AppliedPoint,
  signal: AbortSignal,
): Promise<void> {
  await readAll(kv, signal);
  const start = await readLogStart(kv);
  const { applied } = await readState(kv, { cutIndex: 0, cutTerm: 0 });
  if (!start || applied.index !== point.index || applied.term !== point.term) {
    throw new StorageError("corrupt", `rows of index ${applied.index}, not ${point.index}`);
  }
  await dropLog(kv, signal);
  const batch = kv.batch();
  const cut = { cutIndex: toLogIndex(point.index), cutTerm: point.term };
  batch.put(logStartKey, encodeLogStart({ ...start, ...cut }));
  batch.del(commitKey);
  dropCleanMark(batch);
  await batch.write();
}

async function readAll(kv: Kv, signal: AbortSignal): Promise<void> {
  const lt = Buffer.alloc(64, 0xff);
  let gte = Buffer.alloc(0);
  for (;;) {
    signal.throwIfAborted();
    const rows = await kv.range({ gte, lt, limit: readRows });
    const last = rows[rows.length - 1];
    if (!last) return;
    gte = Buffer.concat([last.key, Buffer.alloc(1)]);
  }
}

async function dropLog(kv: Kv, signal: AbortSignal): Promise<void> {
  const gte = keyBytes(prefixes.log);
  const lt = keyBytes(endOfPrefix(prefixes.log));
  for (;;) {
    signal.throwIfAborted();
    const rows = await kv.range({ gte, lt, limit: readRows });
    if (rows.length === 0) return;
    const batch = kv.batch();
    for (const { key } of rows) batch.del(key);
    await batch.write();
  }
}
