/**
 * What a shard finds in its store at start: the state of the last checkpoint, the log behind it,
 * and whether something that was durable is gone.
 */
import type { StoreId } from "../base/brand.ts";
import { keyBytes, prefixes } from "../queue/keys.ts";
import type { State } from "../queue/state.ts";
import { emptyMembership } from "../raft/conf-change.ts";
import { type FenceFile, holdsFence } from "../storage/fence-file.ts";
import { type Kv, type KvBatch, StorageError } from "../storage/kv.ts";
import type { VoteFile } from "../storage/vote-file.ts";
import { type AppliedPoint, encodeStateRow, readState, stateKey } from "./checkpoint.ts";
import { encodeLogStart, type LogStart, LogStore, logStartKey, readLogStart } from "./log-store.ts";
import type { Members } from "./members.ts";
import type { ShardOptions } from "./shard-port.ts";

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
  { storeId, founding }: Pick<ShardOptions, "storeId" | "founding">,
): Promise<Recovered> {
  const first = founding ?? foundedBy([storeId], []);
  const { state, applied } = await readState(kv, first);
  if (first.cutIndex > 0 && !(await readLogStart(kv))) await putFounding(kv, state, first);
  const log = await LogStore.open(kv, vote.load(), applied.index, first);
  const last = log.lastIndex();
  const synced = fence.load();
  if (!holdsFence(synced, log.term(last), last)) {
    throw new StorageError("corrupt", `the log ends at ${last}, synced was ${synced.index}`);
  }
  // A log may have been lost whole: that it was ever led shows in the vote.
  const wasCut = !(await takeCleanMark(kv)) && vote.load().term > 0;
  return { state, applied, log, wasCut };
}

/** The state that a group begins with, in the store: whoever joins before anything else is saved needs it. */
async function putFounding(kv: Kv, state: State, first: LogStart): Promise<void> {
  const batch = kv.batch();
  batch.put(logStartKey, encodeLogStart(first));
  batch.put(stateKey, encodeStateRow(state, { index: first.cutIndex, term: first.cutTerm }));
  await batch.write();
}

/**
 * What the log of a new group begins with: index 1 of term 1 stands for its founding, so that whoever
 * joins later, with an empty log, is given the whole state, membership included.
 */
export function foundedBy(voters: readonly StoreId[], members: Members): LogStart {
  const membership = { ...emptyMembership, voters: [...voters].sort((a, b) => a - b) };
  return { cutIndex: 1, cutTerm: 1, membership, members };
}

/** What the log of a replica begins with that waits to be taken into a group. */
export const unfounded: LogStart = {
  cutIndex: 0,
  cutTerm: 0,
  membership: emptyMembership,
  members: [],
};

async function takeCleanMark(kv: Kv): Promise<boolean> {
  if (!(await kv.get(cleanKey))) return false;
  const batch = kv.batch();
  dropCleanMark(batch);
  await batch.write();
  return true;
}

/** Marks the store as closed in order; nothing may be written after it. */
export function putCleanMark(batch: KvBatch): void {
  batch.put(cleanKey, Buffer.from([1]));
}

/** A store that another process closed is open again. */
export function dropCleanMark(batch: KvBatch): void {
  batch.del(cleanKey);
}
