/**
 * Ids of keyed tasks, and the hash by which a repeated request is told from another one with the
 * same key: over queue, priority, max attempts, webhook and payload. Delay and runAt do not count
 * (a retry computes them anew), nor do trace headers.
 */
import { createHash, hash } from "node:crypto";
import { ByteWriter } from "../base/bytes.ts";
import { encodeTaskRecord, RecordCursor } from "../queue/task-record.ts";
import { hashJson } from "./json-hash.ts";

/** The 16-byte id, version 8: SHA-256 of "quorumq/1", tenant and key, each with its length (u32). */
export function keyedTaskId(tenant: string, key: string): Buffer {
  const digest = createHash("sha256");
  const length = Buffer.alloc(4);
  for (const part of ["quorumq/1", tenant, key]) {
    const bytes = Buffer.from(part);
    length.writeUInt32BE(bytes.length);
    digest.update(length).update(bytes);
  }
  const id = digest.digest().subarray(0, 16);
  id[6] = 0x80 | ((id[6] as number) & 15);
  id[8] = 0x80 | ((id[8] as number) & 63);
  return id;
}

/**
 * 16 bytes.
 * @param records - the task records of the request
 * @param asJson - payloads that are equal as JSON values are equal (keys); else by their bytes
 *   (run ids: the same client sends the same frame again)
 */
export function requestHash(
  queue: string,
  priority: number,
  records: Buffer,
  asJson: boolean,
): Buffer {
  const head = Buffer.from(`${queue}\0${priority}\0`);
  const bytes = Buffer.concat([head, comparable(records, asJson)]);
  return hash("sha256", bytes, "buffer").subarray(0, 16);
}

/** The records without what does not count. */
function comparable(records: Buffer, asJson: boolean): Buffer {
  const out = new ByteWriter(records.length + 64);
  const cursor = new RecordCursor(records);
  let same = !asJson;
  while (cursor.at < records.length) {
    cursor.next();
    const extras = cursor.extras();
    if (extras || cursor.delayMs > 0 || cursor.runAtMs > 0) same = false;
    const payload = records.subarray(cursor.payloadFrom, cursor.payloadTo);
    const compared = asJson ? comparablePayload(payload) : payload;
    const webhook = extras?.webhook ?? "";
    const task = {
      maxAttempts: cursor.maxAttempts,
      delayMs: 0,
      runAtMs: 0,
      extras: webhook === "" ? null : { webhook, traceParent: "", traceState: "" },
    };
    encodeTaskRecord(out, task, compared, 0, compared.length);
  }
  return same ? records : out.finish();
}

/** Stands for a payload that is JSON: a mark that no JSON begins with, and the value's hash. */
function comparablePayload(payload: Buffer): Buffer {
  const hashed = hashJson(payload);
  return hashed ? Buffer.concat([Buffer.alloc(1), hashed]) : payload;
}
