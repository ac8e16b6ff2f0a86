/**
 * Time of keyed creates alone, per MiB of the request: read the body, then id and hash of the
 * request. The shapes are those that cost most.
 *
 *   npx tsx bench/micro/keyed.ts [rounds]
 */

import { JsonReader } from "../../src/api/json-reader.ts";
import { ByteWriter } from "../../src/base/bytes.ts";
import { encodeTaskRecord } from "../../src/queue/task-record.ts";
import { keyedTaskId, requestHash } from "../../src/router/request-hash.ts";

const MiB = 1024 * 1024;
const rounds = Number(process.argv[2] ?? 30);

function filled(part: (i: number) => string, open = "[", close = "]"): string {
  const parts: string[] = [];
  for (let size = 0; size < MiB - 40; size += (parts.at(-1) as string).length + 1) {
    parts.push(part(parts.length));
  }
  return open + parts.join() + close;
}

const members = (count: number): string =>
  `{${Array.from({ length: count }, (_, i) => `"${i}":${i % 10}`).join()}}`;

const shapes: Readonly<Record<string, string>> = {
  "one text": `"${"x".repeat(MiB - 40)}"`,
  "escaped text": `"${"\\u00e9".repeat(MiB / 6 - 10)}"`,
  "escaped text, short": `"${"\\n".repeat(MiB / 2 - 20)}"`,
  "short texts": filled(() => `""`),
  "texts of 8": filled((i) => `"${String(i).padStart(8, "a")}"`),
  digits: filled((i) => String(i % 10)),
  "long numbers": filled((i) => `-${i}.0${i}e-${i % 100}`),
  literals: filled((i) => (i % 2 === 0 ? "true" : "null")),
  "empty lists": filled(() => "[]"),
  "empty objects": filled(() => "{}"),
  "one member each": filled(() => `{"":0}`),
  "nested lists": filled(() => "[".repeat(50) + "]".repeat(50)),
  "16 members each": filled(() => members(16)),
  "33 members each": filled(() => members(33)),
  "one object of many": filled((i) => `"${i.toString(36)}":0`, "{", "}"),
  rows: filled((i) => `{"id":${i},"name":"user ${i}","tags":["a","b"],"ok":true}`),
  spaces: `[${" ".repeat(MiB - 50)}]`,
};

const reader = new JsonReader(12345);
const shape = {
  fields: new Set(["command", "payload", "idempotencyKey"]),
  rawField: "payload",
  keepUnknown: true,
};

/** Least ms of all rounds: to read the body, and for id and hash. */
function time(payload: string): [number, number] {
  const body = Buffer.from(`{"command":"q","idempotencyKey":"k","payload":${payload}}`);
  const read: number[] = [];
  const hash: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    const { payload: raw } = reader.parse(body, shape) as { payload: { from: number; to: number } };
    const readAt = performance.now();
    const records = new ByteWriter(512);
    const task = { maxAttempts: 5, delayMs: 0, runAtMs: 0, extras: null };
    encodeTaskRecord(records, task, body, raw.from, raw.to);
    keyedTaskId("t", "k");
    requestHash("q", 0, records.finish(), true);
    read.push(readAt - started);
    hash.push(performance.now() - readAt);
  }
  const perMiB = MiB / body.length;
  return [Math.min(...read) * perMiB, Math.min(...hash) * perMiB];
}

for (const payload of Object.values(shapes)) time(payload);
for (const [name, payload] of Object.entries(shapes)) {
  const [read, hash] = time(payload);
  const total = (read + hash).toFixed(1);
  console.log(
    `${name.padEnd(22)} read ${read.toFixed(1)}  hash ${hash.toFixed(1)}  ${total} ms/MiB`,
  );
}
