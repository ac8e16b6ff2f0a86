/**
 * With snapshots held while keys are overwritten, LevelDB 1.20 gives old values back (FAULTS F3).
 * The port has no way to hold one; ranges close their iterator before they answer.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { afterEach, it } from "node:test";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { Cleanup, makeDirectory } from "./machine.ts";

const cleanup = new Cleanup();

afterEach(() => cleanup.run());

it("has no snapshot, no iterator and no unsynced write in reach", async () => {
  const path = join(makeDirectory(cleanup), "db");
  const kv = await createLevelKv(path, { createIfMissing: true });
  const batch = kv.batch();
  for (const name of [
    "snapshot",
    "iterator",
    "keys",
    "values",
    "clear",
    "put",
    "del",
    "compactRange",
  ]) {
    assert.equal(name in kv, false, name);
  }
  assert.equal(batch.write.length, 0, "write takes no options");
  assert.deepEqual(Object.keys(kv), [], "what is underneath cannot be reached");
  await batch.discard();
  await kv.close();
});

it("reads nothing old while keys are overwritten under running ranges", async () => {
  const path = join(makeDirectory(cleanup), "db");
  const kv = await createLevelKv(path, { createIfMissing: true, writeBufferBytes: 1024 * 1024 });
  const newest = new Map<string, number>();
  const range = { gte: Buffer.from("a"), lt: Buffer.from("b"), limit: 1000 };
  for (let step = 0; step < 150; step++) {
    const batch = kv.batch();
    for (let n = 0; n < 40; n++) {
      const key = `a${(step * 7919 + n * 104729) % 500}`;
      batch.put(Buffer.from(key), Buffer.alloc(1024, `${step} `));
      newest.set(key, step);
    }
    const reading = kv.range(range);
    await batch.write();
    await reading;
  }
  for (const { key, value } of await kv.range(range)) {
    const wanted = `${newest.get(key.toString())} `;
    assert.equal(value.toString("latin1", 0, wanted.length), wanted, key.toString());
  }
  await kv.close();
});
