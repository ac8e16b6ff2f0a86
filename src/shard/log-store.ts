/**
 * The Raft log of one shard: entries as rows of its store, the newest of them in memory too. It
 * implements the core's log port. Truncation goes into the batch of the entries that replace it;
 * the log is cut only together with the checkpoint that covers what is cut.
 */
import { assert } from "../base/assert.ts";
import { type LogIndex, type Term, toLogIndex, toTerm } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { keyBytes, prefixes, u64Text } from "../queue/keys.ts";
import { readMembership, writeMembership } from "../raft/conf-change-codec.ts";
import {
  type Entry,
  type EntryType,
  type HardState,
  type LogReader,
  type Membership,
  NO_ONE,
  type SnapshotMeta,
} from "../raft/types.ts";
import { type Kv, type KvBatch, StorageError } from "../storage/kv.ts";
import { type Members, readMembers, writeMembers } from "./members.ts";

/** Where the row beside the entries stands. */
export const logStartKey = keyBytes(`${prefixes.meta}log`);
/** Commit index as it was known when the newest entries were written. */
export const commitKey = keyBytes(`${prefixes.meta}commit`);
const entryTypes: readonly EntryType[] = ["normal", "confChange", "confChangeV2"];
const readRows = 256;
/** Applied entries are kept in memory up to this many bytes, for followers that are close. */
const memoryBytes = 8 * 1024 * 1024;

/** What stands in the store beside the entries. */
export interface LogStart {
  /** Index and term of the entry before the first one kept. */
  readonly cutIndex: number;
  readonly cutTerm: number;
  readonly membership: Membership;
  readonly members: Members;
}

/** How many cut points are remembered; a cut keeps at most one checkpoint's entries too many. */
const cutMarks = 4096;

/** The log up to `index` was `bytes` long, counted from this process's start. */
interface CutMark {
  readonly index: number;
  readonly bytes: number;
}

export class LogStore implements LogReader {
  private readonly kv: Kv;
  private cutIndex: number;
  private cutTerm: number;
  /** In force at the applied index; written with each checkpoint. */
  private membership: Membership;
  private memberList: Members;
  /** What the last durable checkpoint holds: the newest snapshot that can be sent. */
  private saved: SnapshotMeta | null = null;
  private saving: SnapshotMeta | null = null;
  private readonly marks: CutMark[] = [];
  private totalBytes = 0;
  private hardState: HardState;
  /** Entries memoryFirst .. last, consecutive. */
  private entriesInMemory: Entry[];
  private memoryFirst: number;
  private bytesInMemory = 0;

  private constructor(kv: Kv, start: LogStart, hardState: HardState, entries: Entry[]) {
    this.kv = kv;
    this.cutIndex = start.cutIndex;
    this.cutTerm = start.cutTerm;
    this.membership = start.membership;
    this.memberList = start.members;
    this.hardState = hardState;
    this.entriesInMemory = entries;
    this.memoryFirst = start.cutIndex + 1;
    for (const entry of entries) this.bytesInMemory += entry.data.length;
    this.totalBytes = this.bytesInMemory;
  }

  /**
   * Reads the log and checks that nothing is missing in it.
   * @param vote - term and vote from their file
   * @param appliedIndex - of the checkpoint
   * @param first - what a log that nothing was ever written to begins with
   * @throws StorageError corrupt: a gap, or the checkpoint is ahead of the log
   */
  static async open(
    kv: Kv,
    vote: { readonly term: Term; readonly vote: HardState["vote"] },
    appliedIndex: number,
    first: LogStart,
  ): Promise<LogStore> {
    const saved = await readLogStart(kv);
    const start = saved ?? first;
    const entries = await readEntries(kv, start.cutIndex + 1);
    const last = start.cutIndex + entries.length;
    if (appliedIndex > last || appliedIndex < start.cutIndex) {
      throw new StorageError(
        "corrupt",
        `rows of index ${appliedIndex}, log from ${start.cutIndex} to ${last}`,
      );
    }
    const applied = toLogIndex(appliedIndex);
    const commit = toLogIndex(Math.max(applied, Math.min(last, await readCommit(kv))));
    // Entries may be written before the term that they came in, and nobody voted in that of a
    // group's founding. No vote of such a term has been told.
    const lastTerm = entries[entries.length - 1]?.term ?? toTerm(start.cutTerm);
    const known = vote.term < lastTerm ? { term: lastTerm, vote: NO_ONE } : vote;
    const log = new LogStore(kv, start, { ...known, commit }, entries);
    if (saved) log.saved = log.metaAt(applied);
    return log;
  }

  initialState(): { readonly hardState: HardState; readonly membership: Membership } {
    return { hardState: this.hardState, membership: this.membership };
  }

  firstIndex(): LogIndex {
    return toLogIndex(this.cutIndex + 1);
  }

  lastIndex(): LogIndex {
    return toLogIndex(this.memoryFirst + this.entriesInMemory.length - 1);
  }

  term(index: LogIndex): Term {
    if (index === this.cutIndex) return toTerm(this.cutTerm);
    return this.entry(index).term;
  }

  entries(lo: LogIndex, hi: LogIndex, maxBytes: number): readonly Entry[] {
    const found: Entry[] = [];
    let bytes = 0;
    for (let i = lo as number; i < hi; i++) {
      const entry = this.entry(toLogIndex(i));
      bytes += entry.data.length;
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(entry);
    }
    return found;
  }

  snapshotMeta(): SnapshotMeta | null {
    return this.saved;
  }

  /** The checkpoint whose cut was put into a batch last is durable. */
  checkpointSaved(): void {
    this.saved = this.saving;
  }

  private metaAt(index: LogIndex): SnapshotMeta {
    return { index, term: this.term(index), membership: this.membership };
  }

  /** Who is found where, as of the applied index. */
  get members(): Members {
    return this.memberList;
  }

  /** A membership change was applied: the next checkpoint holds it. */
  setMembership(membership: Membership, members: Members): void {
    this.membership = membership;
    this.memberList = members;
  }

  private entry(index: LogIndex): Entry {
    if (index >= this.memoryFirst) {
      const entry = this.entriesInMemory[index - this.memoryFirst];
      assert(entry !== undefined, "entry in the log", index, this.lastIndex());
      return entry;
    }
    assert(index > this.cutIndex, "entry not cut", index, this.cutIndex);
    const row = this.kv.getSync(entryKey(index));
    if (!row) throw new StorageError("corrupt", `log entry ${index} is gone`);
    return decodeEntry(index, row);
  }

  /**
   * Puts entries into the batch, and deletes those that they replace. The commit index goes with
   * them: whoever acknowledges entries knows durably what their sender knew to be committed, and so
   * after a restart which membership is in force.
   */
  append(batch: Pick<KvBatch, "put" | "del">, entries: readonly Entry[], commit: LogIndex): void {
    const first = entries[0];
    if (!first) return;
    batch.put(commitKey, keyBytes(u64Text(commit)));
    const last = this.lastIndex();
    assert(first.index <= last + 1 && first.index > this.cutIndex, "append", first.index, last);
    for (let i = (entries[entries.length - 1] as Entry).index + 1; i <= last; i++) {
      batch.del(entryKey(i));
    }
    if (first.index < this.memoryFirst) {
      this.entriesInMemory = [];
      this.memoryFirst = first.index;
      this.bytesInMemory = 0;
    } else if (first.index <= last) {
      for (const gone of this.entriesInMemory.splice(first.index - this.memoryFirst)) {
        this.bytesInMemory -= gone.data.length;
      }
    }
    for (const entry of entries) {
      batch.put(entryKey(entry.index), encodeEntry(entry));
      this.entriesInMemory.push(entry);
      this.bytesInMemory += entry.data.length;
      this.totalBytes += entry.data.length;
    }
  }

  /**
   * Cuts the log up to an index that a checkpoint in the same batch covers.
   * @param neededFrom - entries from here on stay for replicas that lack them, …
   * @param keepBytes - … unless that keeps more than so many bytes of applied entries
   */
  cut(
    batch: Pick<KvBatch, "put" | "del">,
    appliedIndex: LogIndex,
    neededFrom: number,
    keepBytes: number,
  ): void {
    const to = Math.min(appliedIndex, Math.max(neededFrom - 1, this.tooOld(keepBytes)));
    this.saving = this.metaAt(appliedIndex);
    this.marks.push({ index: appliedIndex, bytes: this.totalBytes });
    if (this.marks.length > cutMarks) this.marks.shift();
    if (to > this.cutIndex) {
      const term = this.term(toLogIndex(to));
      for (let i = this.cutIndex + 1; i <= to; i++) batch.del(entryKey(i));
      this.cutIndex = to;
      this.cutTerm = term;
    }
    const { cutIndex, cutTerm, membership, members } = this;
    batch.put(logStartKey, encodeLogStart({ cutIndex, cutTerm, membership, members }));
    this.forget(appliedIndex);
  }

  /** The newest index behind which more than `keepBytes` have been appended. */
  private tooOld(keepBytes: number): number {
    const { marks } = this;
    let found = 0;
    while (marks[0] && this.totalBytes - marks[0].bytes > keepBytes) {
      found = marks[0].index;
      marks.shift();
    }
    return found;
  }

  /** Drops applied entries from memory, as far as there are too many. */
  private forget(appliedIndex: LogIndex): void {
    let drop = 0;
    for (const entry of this.entriesInMemory) {
      if (entry.index > appliedIndex) break;
      if (entry.index > this.cutIndex && this.bytesInMemory <= memoryBytes) break;
      this.bytesInMemory -= entry.data.length;
      drop++;
    }
    if (drop === 0) return;
    this.entriesInMemory = this.entriesInMemory.slice(drop);
    this.memoryFirst += drop;
  }
}

export function entryKey(index: number): Buffer {
  return keyBytes(prefixes.log + u64Text(index));
}

export function encodeEntry(entry: Entry): Buffer {
  const row = Buffer.allocUnsafe(9 + entry.data.length);
  row.writeUInt32BE(Math.floor(entry.term / 0x1_0000_0000), 0);
  row.writeUInt32BE(entry.term % 0x1_0000_0000, 4);
  row[8] = entryTypes.indexOf(entry.type);
  entry.data.copy(row, 9);
  return row;
}

/** @throws DecodeError */
export function decodeEntry(index: number, row: Buffer): Entry {
  const input = new ByteReader(row);
  const term = toTerm(input.u64());
  const type = entryTypes[input.u8()];
  if (!type) throw new DecodeError(`log entry ${index}: unknown type`);
  return { index: toLogIndex(index), term, type, data: input.bytes(input.left) };
}

async function readEntries(kv: Kv, from: number): Promise<Entry[]> {
  const entries: Entry[] = [];
  const lt = keyBytes(`${prefixes.log}\xff`);
  for (;;) {
    const gte = entryKey(from + entries.length);
    const rows = await kv.range({ gte, lt, limit: readRows });
    for (const row of rows) {
      const index = from + entries.length;
      if (!row.key.equals(entryKey(index))) {
        throw new StorageError("corrupt", `log entry ${index} is missing, later ones are there`);
      }
      entries.push(decodeEntry(index, row.value));
    }
    if (rows.length < readRows) return entries;
  }
}

/** @returns 0 in a store that no entry was ever written to */
async function readCommit(kv: Kv): Promise<number> {
  const row = await kv.get(commitKey);
  return row ? new ByteReader(row).u64() : 0;
}

/** The row that stands beside the entries. */
export function encodeLogStart({ cutIndex, cutTerm, membership, members }: LogStart): Buffer {
  const out = new ByteWriter(256);
  out.u64(cutIndex);
  out.u64(cutTerm);
  writeMembership(out, membership);
  writeMembers(out, members);
  return out.finish();
}

/** @returns null in a store that holds no log @throws DecodeError, StorageError */
export async function readLogStart(kv: Kv): Promise<LogStart | null> {
  const row = await kv.get(logStartKey);
  return row ? decodeLogStart(row) : null;
}

/** @throws DecodeError */
export function decodeLogStart(row: Buffer): LogStart {
  const input = new ByteReader(row);
  const cutIndex = input.u64();
  const cutTerm = input.u64();
  const membership = readMembership(input);
  return { cutIndex, cutTerm, membership, members: readMembers(input) };
}
