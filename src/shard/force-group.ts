/**
 * Makes the replica in a store the only member of its group, whatever the others know: for `recover
 * --force-new-cluster`, when a quorum is lost for good. All entries of its log count as committed from
 * then on; what the others had beyond them is lost.
 */
import { type StoreId, toLogIndex } from "../base/brand.ts";
import { EntryReader } from "../queue/command-codec.ts";
import { emptyMembership } from "../raft/conf-change.ts";
import type { Entry, Membership } from "../raft/types.ts";
import type { Kv } from "../storage/kv.ts";
import { type AppliedPoint, readState } from "./checkpoint.ts";
import {
  encodeEntry,
  encodeLogStart,
  entryKey,
  type LogStart,
  LogStore,
  logStartKey,
} from "./log-store.ts";
import type { Members } from "./members.ts";
import { emptied, raiseTokensEntry } from "./rebuild.ts";
import { dropCleanMark } from "./recovery.ts";

type Vote = Parameters<typeof LogStore.open>[1];

/** What a replica's log knows of its group. */
export interface GroupLook {
  readonly applied: AppliedPoint;
  readonly last: AppliedPoint;
  readonly membership: Membership;
  readonly members: Members;
  /** Leader time of the last entry that tells one; 0 if none does. */
  readonly timeMs: number;
}

/** @throws StorageError corrupt: the log has a gap; io */
export async function lookAtGroup(kv: Kv, vote: Vote, first: LogStart): Promise<GroupLook> {
  const { look } = await open(kv, vote, first);
  return look;
}

async function open(
  kv: Kv,
  vote: Vote,
  first: LogStart,
): Promise<{ readonly log: LogStore; readonly look: GroupLook }> {
  const { state, applied } = await readState(kv, first);
  const log = await LogStore.open(kv, vote, applied.index, first);
  const lastIndex = log.lastIndex();
  let timeMs = state.counters.timeMs;
  for (const { type, data } of entriesBehind(log, applied.index)) {
    if (type === "normal" && data.length > 0)
      timeMs = Math.max(timeMs, new EntryReader(data).timeMs);
  }
  const last = { index: lastIndex, term: log.term(lastIndex) };
  const { membership } = log.initialState();
  return { log, look: { applied, last, membership, members: log.members, timeMs } };
}

function entriesBehind(log: LogStore, index: number): readonly Entry[] {
  const from = toLogIndex(index + 1);
  const to = toLogIndex(log.lastIndex() + 1);
  return from < to ? log.entries(from, to, Number.POSITIVE_INFINITY) : [];
}

/** Durable when it resolves; may be repeated. @throws StorageError corrupt, io */
export async function forceGroup(
  kv: Kv,
  vote: Vote,
  first: LogStart,
  self: StoreId,
): Promise<void> {
  const { log, look } = await open(kv, vote, first);
  const batch = kv.batch();
  for (const entry of entriesBehind(log, look.applied.index)) {
    // Applied again, a change of the members would bring the others back.
    if (entry.type !== "normal") {
      batch.put(entryKey(entry.index), encodeEntry({ ...entry, ...emptied }));
    }
  }
  const raise = raiseTokensEntry(look.last.index + 1, look.last.term, look.timeMs);
  batch.put(entryKey(raise.index), encodeEntry(raise));
  const cutIndex = log.firstIndex() - 1;
  const start = {
    ...{ cutIndex, cutTerm: log.term(toLogIndex(cutIndex)) },
    ...groupOfOne(self, look.members),
  };
  batch.put(logStartKey, encodeLogStart(start));
  dropCleanMark(batch);
  await batch.write();
}

/** A group of this replica alone, found where it was found before. */
export function groupOfOne(
  self: StoreId,
  members: Members,
): Pick<LogStart, "membership" | "members"> {
  const membership = { ...emptyMembership, voters: [self] };
  return { membership, members: members.filter(({ storeId }) => storeId === self) };
}
