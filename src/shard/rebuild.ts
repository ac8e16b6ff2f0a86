/**
 * A damaged store of one shard, made anew from what is whole of it (storage/salvage.ts): its runs with
 * all rows that lead to them, its log up to the first gap, and lease tokens that were never given.
 * For `recover --accept-loss`; nothing that serves comes by here.
 */
import { toLogIndex, toTerm } from "../base/brand.ts";
import { DecodeError } from "../base/bytes.ts";
import { EntryReader, EntryWriter } from "../queue/command-codec.ts";
import { endOfPrefix, keyBytes, prefixes, readU64 } from "../queue/keys.ts";
import { State } from "../queue/state.ts";
import type { Entry } from "../raft/types.ts";
import { type Kv, StorageError } from "../storage/kv.ts";
import { type AppliedPoint, decodeStateRow, encodeStateRow, stateKey } from "./checkpoint.ts";
import {
  decodeEntry,
  decodeLogStart,
  encodeEntry,
  encodeLogStart,
  entryKey,
  type LogStart,
  logStartKey,
} from "./log-store.ts";
import { type Aside, type RebuildSink, type RunsReport, rebuildRuns } from "./rebuild-runs.ts";

export type { Aside, RebuildSink };

export interface RebuildOptions {
  /** Who the group consists of from now on. */
  readonly group: Pick<LogStart, "membership" | "members">;
  /** Where the log of a store begins that has no checkpoint yet. */
  readonly first: AppliedPoint;
  /** The last entry that is known to have been durable, from the fence; zeros if that is lost. */
  readonly fence: AppliedPoint;
  /** Highest term that is known beside the store. */
  readonly term: number;
  readonly aside: Aside;
}

export interface RebuildReport extends RunsReport {
  /** The row that says which entries the rows contain is lost, or older than they are. */
  readonly isPointLost: boolean;
  /** What the rows contain, and the last entry that was kept. */
  readonly applied: AppliedPoint;
  readonly last: AppliedPoint;
  /** Last entry that is there at all, or is known to have been. */
  readonly lastKnown: number;
  /** Entries between others that are not there: what they did may be lost, too. */
  readonly gaps: readonly LogGap[];
  /** Leader time of the last entry that was kept; 0 if nothing tells it. */
  readonly timeMs: number;
}

/** Both ends included. */
export interface LogGap {
  readonly from: number;
  readonly to: number;
}

/** Left out of lease tokens where nothing tells how many were left out before. */
const bigTokenStep = 2 ** 30;
/** Log indexes and sequences left out where the last ones are lost. */
const unknownStep = 2 ** 20;

/** The sink holds a whole store when it resolves, but for what it has not written yet. */
export async function rebuildShard(
  source: Kv,
  sink: RebuildSink,
  options: RebuildOptions,
): Promise<RebuildReport> {
  const runs = await rebuildRuns(source, sink, options.aside);
  const state = new State(false);
  const found = await readLog(source, options.aside);
  const point = (await readPoint(source, state, runs)) ?? pointOfNew(found, runs, options);
  const log = point ? logBehind(found, point, options.aside) : logAtEnd(found, options);
  putState(sink, state, runs, { isPointLost: point === null, applied: log.applied });
  const last = putLog(sink, log, options);
  return {
    ...runs,
    isPointLost: point === null,
    ...{ applied: log.applied, last },
    lastKnown: Math.max(options.fence.index, found.highest),
    gaps: gapsOf(found),
    timeMs: Math.max(runs.maxTimeMs, log.timeMs),
  };
}

/** What the rows contain; null if that is lost, or told by a row that is older than they are. */
async function readPoint(kv: Kv, state: State, runs: RunsReport): Promise<AppliedPoint | null> {
  const row = await kv.get(stateKey);
  const start = await kv.get(logStartKey);
  if (!row || !start) return null;
  const point = orNull(() => decodeStateRow(state, row));
  const cut = orNull(() => decodeLogStart(start));
  if (!point || !cut) return null;
  const { counters } = state;
  const isOld =
    cut.cutIndex > point.index ||
    runs.maxSeq >= counters.nextSeq ||
    runs.maxQueueId >= counters.nextQueueId ||
    runs.maxTimeMs > counters.timeMs ||
    runs.maxClaimIndex > point.index + counters.tokenOffset;
  return isOld ? null : point;
}

/** A store that has no checkpoint yet, or the same: all is in its log. */
function pointOfNew(
  { entries, highest }: FoundLog,
  { queues, tasks, brokenRuns, withoutState }: RunsReport,
  { first, fence }: RebuildOptions,
): AppliedPoint | null {
  const hasRows = queues + tasks + brokenRuns + withoutState > 0;
  const isWhole = entries.has(first.index + 1) || Math.max(highest, fence.index) <= first.index;
  return !hasRows && isWhole ? first : null;
}

interface FoundLog {
  /** Entries that can be read, ascending; there may be gaps. */
  readonly entries: ReadonlyMap<number, Entry>;
  readonly highest: number;
}

async function readLog(kv: Kv, aside: Aside): Promise<FoundLog> {
  const entries = new Map<number, Entry>();
  let highest = 0;
  let gte = keyBytes(prefixes.log);
  const lt = keyBytes(endOfPrefix(prefixes.log));
  for (;;) {
    const rows = await kv.range({ gte, lt, limit: rowsAtOnce });
    for (const { key, value } of rows) {
      const index = readU64(key.toString("latin1"), 1);
      highest = Math.max(highest, index);
      const entry = orNull(() => checkedEntry(index, value));
      if (entry) entries.set(index, entry);
      else aside("a log entry that cannot be read", key, value);
    }
    const last = rows[rows.length - 1];
    if (!last) return { entries, highest };
    gte = Buffer.concat([last.key, Buffer.alloc(1)]);
  }
}

const rowsAtOnce = 256;

/** @throws DecodeError, also where a command in it cannot be read */
function checkedEntry(index: number, row: Buffer): Entry {
  const entry = decodeEntry(index, row);
  if (entry.type === "normal" && entry.data.length > 0) {
    const reader = new EntryReader(entry.data);
    while (reader.next()) {
      // Each is read to its end.
    }
  }
  return entry;
}

function gapsOf({ entries }: FoundLog): readonly LogGap[] {
  const gaps: LogGap[] = [];
  let before = 0;
  for (const index of [...entries.keys()].sort((a, b) => a - b)) {
    if (before > 0 && index > before + 1) gaps.push({ from: before + 1, to: index - 1 });
    before = index;
  }
  return gaps;
}

interface KeptLog {
  readonly applied: AppliedPoint;
  /** Behind the applied index, without a gap. */
  readonly entries: readonly Entry[];
  readonly timeMs: number;
}

function logBehind({ entries }: FoundLog, applied: AppliedPoint, aside: Aside): KeptLog {
  const kept: Entry[] = [];
  for (let index = applied.index + 1; ; index++) {
    const entry = entries.get(index);
    if (!entry || entry.term < (kept.at(-1)?.term ?? applied.term)) break;
    kept.push(entry);
  }
  const last = applied.index + kept.length;
  for (const [index, entry] of entries) {
    if (index > last) aside("a log entry behind a gap", entryKey(index), encodeEntry(entry));
  }
  return { applied, entries: kept, timeMs: timeOf(kept) };
}

/** Nobody knows which entries the rows contain: none is applied again, and the log goes on behind all. */
function logAtEnd({ entries, highest }: FoundLog, { fence, term }: RebuildOptions): KeptLog {
  const index = Math.max(highest, fence.index) + unknownStep;
  const terms = [...entries.values()].map((entry) => entry.term as number);
  const applied = { index, term: terms.reduce((a, b) => Math.max(a, b), Math.max(term, 1)) };
  return { applied, entries: [], timeMs: timeOf([...entries.values()]) };
}

/** Leader time of the last entry that tells one. */
function timeOf(entries: readonly Entry[]): number {
  for (const entry of [...entries].reverse()) {
    if (entry.type === "normal" && entry.data.length > 0) return new EntryReader(entry.data).timeMs;
  }
  return 0;
}

function putState(
  sink: RebuildSink,
  state: State,
  runs: RunsReport,
  { isPointLost, applied }: { readonly isPointLost: boolean; readonly applied: AppliedPoint },
): void {
  const { counters } = state;
  if (isPointLost) {
    counters.nextSeq = Math.max(counters.nextSeq, runs.maxSeq + unknownStep);
    counters.nextQueueId = Math.max(counters.nextQueueId, runs.maxQueueId + 1);
    counters.timeMs = Math.max(counters.timeMs, runs.maxTimeMs);
    const given = Math.max(counters.tokenOffset, runs.maxClaimIndex - applied.index);
    counters.tokenOffset = Math.max(0, given) + bigTokenStep;
  }
  sink.put(stateKey, encodeStateRow(state, applied));
}

/** The entries, and behind them one that raises the lease tokens. @returns the last one */
function putLog(sink: RebuildSink, log: KeptLog, { group }: RebuildOptions): AppliedPoint {
  const { applied, entries } = log;
  const start = { cutIndex: applied.index, cutTerm: applied.term, ...group };
  sink.put(logStartKey, encodeLogStart(start));
  for (const entry of entries) {
    // The group is told above; changes of the one before would bring its members back.
    const kept = entry.type === "normal" ? entry : { ...entry, ...emptied };
    sink.put(entryKey(entry.index), encodeEntry(kept));
  }
  const before = entries.at(-1) ?? applied;
  const raise = raiseTokensEntry(before.index + 1, before.term, log.timeMs);
  sink.put(entryKey(raise.index), encodeEntry(raise));
  return { index: raise.index, term: raise.term };
}

/** An entry that does nothing. */
export const emptied = { type: "normal", data: Buffer.alloc(0) } as const;

/** Lease tokens given from this entry on were never given by anyone who held the log before. */
export function raiseTokensEntry(index: number, term: number, timeMs: number): Entry {
  const writer = new EntryWriter(timeMs, 64);
  writer.add({ kind: "raiseTokens" });
  const data = writer.finish();
  return { index: toLogIndex(index), term: toTerm(term), type: "normal", data };
}

function orNull<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch (error) {
    const isForm = error instanceof DecodeError || error instanceof RangeError;
    if (isForm || error instanceof StorageError) return null;
    throw error;
  }
}
