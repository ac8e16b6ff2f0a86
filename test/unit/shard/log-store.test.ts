/** What a log finds when it is opened. */
import { deepEqual } from "node:assert/strict";
import { describe, it } from "node:test";
import { toLogIndex, toStoreId, toTerm } from "../../../src/base/brand.ts";
import { LogStore } from "../../../src/shard/log-store.ts";
import { foundedBy } from "../../../src/shard/recovery.ts";
import type { Kv } from "../../../src/storage/kv.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

const first = foundedBy([toStoreId(7)], []);
const disk = { unit: () => 0, schedule: (callback: () => void) => setImmediate(callback) };

function open(kv: Kv, term: number, vote: number): Promise<LogStore> {
  const voted = { term: toTerm(term), vote: toStoreId(vote) };
  return LogStore.open(kv, voted, first.cutIndex, first);
}

async function storeWithEntryOf(term: number): Promise<Kv> {
  const kv = await createMemoryKv(new VirtualDisk(disk), "/s", { createIfMissing: true });
  const log = await open(kv, 1, 0);
  const batch = kv.batch();
  const data = Buffer.alloc(0);
  const entry = { index: toLogIndex(2), term: toTerm(term), type: "normal", data } as const;
  log.append(batch, [entry], toLogIndex(1));
  await batch.write();
  return kv;
}

describe("log store", () => {
  it("takes the term of an entry that was written before its term was, without a vote", async () => {
    const { hardState } = (await open(await storeWithEntryOf(10), 8, 5)).initialState();
    deepEqual(hardState, { term: 10, vote: 0, commit: 1 });
  });

  it("keeps the term and the vote that were saved, if no entry is newer", async () => {
    const { hardState } = (await open(await storeWithEntryOf(8), 8, 5)).initialState();
    deepEqual(hardState, { term: 8, vote: 5, commit: 1 });
  });
});
