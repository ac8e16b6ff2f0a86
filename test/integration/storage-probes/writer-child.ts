/**
 * Writes rows through the group-commit writer, one at a time, until told to stop or until it
 * fails, and prints what happens: `acked N`, `fatal <code>`, `late acks N`.
 *
 *     writer-child <store> <rows> <bytes>
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createGroupCommit } from "../../../src/storage/group-commit.ts";
import { StorageError } from "../../../src/storage/kv.ts";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { rowKey, rowValue } from "./rows.ts";

const [path = "", rows = "0", bytes = "100"] = process.argv.slice(2);
const nothing = { observe: () => undefined };
let failed: () => void = () => undefined;
const failure = new Promise<void>((resolve) => {
  failed = resolve;
});
let fatals = 0;
const kv = await createLevelKv(path, { createIfMissing: true, writeBufferBytes: 1024 * 1024 });
const writer = createGroupCommit({
  kv,
  clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now() },
  metrics: { batchOps: nothing, batchBytes: nothing, syncSeconds: nothing },
  onFatal(error) {
    fatals++;
    console.log(`fatal ${error instanceof StorageError ? error.code : String(error)}`);
    failed();
  },
});

function write(i: number): Promise<void> {
  return new Promise((resolve) => {
    writer.add((batch) => batch.put(rowKey(i), rowValue(i, Number(bytes))), resolve);
  });
}

let next = 0;
while (next < Number(rows) && fatals === 0) {
  await Promise.race([write(next), failure]);
  if (fatals === 0) console.log(`acked ${next}`);
  next++;
}
if (fatals > 0) {
  // The next writes must come to nothing, be the disk well again or not.
  let late = 0;
  for (let i = 0; i < 20; i++) void write(next + 1 + i).then(() => late++);
  await sleep(100);
  const refused = await kv.get(rowKey(0)).then(
    () => "read",
    () => "refused",
  );
  console.log(`late acks ${late}, fatals ${fatals}, ${refused}`);
  process.exit(74);
}
await kv.close();
