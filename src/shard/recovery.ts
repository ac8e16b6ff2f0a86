/**
 * What a shard finds in its store at start: the state of the last checkpoint, the log behind it,
 * and whether something that was durable is gone.
 */
import type { StoreId } from "../base/brand.ts";
import { keyBytes, prefixes } from "../queue/keys.ts";
import type { State } from "../queue/state.ts";
import type { Membership } from "../raft/types.ts";
import { type FenceFile, holdsFence } from "../storage/fence-file.ts";
import { type Kv, type KvBatch, StorageError } from "../storage/kv.ts";
import type { VoteFile } from "../storage/vote-file.ts";
import { type AppliedPoint, readState } from "./checkpoint.ts";
import { LogStore } from "./log-store.ts";

export interface Recovered {
  readonly state: State;
  readonly applied: AppliedPoint;
  readonly log: LogStore;
  /** The last process led and did not end in order: with `interval` it may have lost its end. */
  readonly wasCut: boolean;
}

const cleanKey = keyBytes(`${prefixes.meta}clean`);

/**
 * Reads the store; the mark of an orderly end is taken away durably.
 * @throws StorageError corrupt: the log has a gap, or ends before what was synced; io
 */
export async function recover(
  kv: Kv,
  vote: VoteFile,
  fence: FenceFile,
  storeId: StoreId,
): Promise<Recovered> {
  const { state, applied } = await readState(kv);
  const log = await LogStore.open(kv, vote.load(), applied.index, membersOfOne(storeId));
  const last = log.lastIndex();
  const synced = fence.load();
  if (!holdsFence(synced, log.term(last), last)) {
    throw new StorageError("corrupt", `the log ends at ${last}, synced was ${synced.index}`);
  }
  // A log may have been lost whole: that it was ever led shows in the vote.
  const wasCut = !(await takeCleanMark(kv)) && vote.load().term > 0;
  return { state, applied, log, wasCut };
}

/** The membership of a group that nothing was ever written to: its founder alone. */
function membersOfOne(storeId: StoreId): Membership {
  const none = { votersOutgoing: [], learners: [], learnersNext: [] };
  return { voters: [storeId], ...none, autoLeave: false };
}

async function takeCleanMark(kv: Kv): Promise<boolean> {
  if (!(await kv.get(cleanKey))) return false;
  const batch = kv.batch();
  batch.del(cleanKey);
  await batch.write();
  return true;
}

/** Marks the store as closed in order; nothing may be written after it. */
export function putCleanMark(batch: KvBatch): void {
  batch.put(cleanKey, Buffer.from([1]));
}
