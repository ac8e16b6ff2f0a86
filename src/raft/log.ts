/**
 * One replica's log as the core sees it: the stable part through LogReader, the unstable end in
 * memory, and how far it is committed and applied.
 *
 * Invariant: applied ≤ applying ≤ committed ≤ lastIndex.
 */
import { assert, present } from "../base/assert.ts";
import type { LogIndex, Term } from "../base/brand.ts";
import type { Entry, LogReader, SnapshotMeta } from "./types.ts";
import { Unstable } from "./unstable.ts";

/**
 * Bytes of an entry for all size limits: its payload and what index, term, type and length cost
 * in the form that protobuf gives it, so that limits mean what operators of other Rafts know.
 */
export function entrySize(entry: Entry): number {
  const size = entry.data.length;
  const head = 4 + varintSize(entry.term) + varintSize(entry.index);
  return size === 0 ? head : head + 1 + varintSize(size) + size;
}

export function entriesSize(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entrySize(entry);
  return size;
}

export function payloadsSize(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entry.data.length;
  return size;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest /= 128) size++;
  return size;
}

/** The longest start of `entries` within maxBytes; at least one entry. */
export function limitSize(entries: readonly Entry[], maxBytes: number): readonly Entry[] {
  let size = 0;
  for (let i = 0; i < entries.length; i++) {
    size += entrySize(entries[i] as Entry);
    if (i > 0 && size > maxBytes) return entries.slice(0, i);
  }
  return entries;
}

export class RaftLog {
  readonly unstable: Unstable;
  committed: LogIndex;
  /** Highest index handed out to be applied. */
  applying: LogIndex;
  applied: LogIndex;
  private readonly stable: LogReader;
  private readonly applyingBytesMax: number;
  private applyingBytes = 0;
  private applyingPaused = false;

  constructor(stable: LogReader, applyingBytesMax: number) {
    this.stable = stable;
    this.applyingBytesMax = applyingBytesMax;
    this.unstable = new Unstable(stable.lastIndex() + 1);
    // What was compacted was applied, hence committed.
    this.committed = (stable.firstIndex() - 1) as LogIndex;
    this.applying = this.committed;
    this.applied = this.committed;
  }

  firstIndex(): LogIndex {
    const snapshot = this.unstable.snapshot;
    return snapshot === null ? this.stable.firstIndex() : ((snapshot.index + 1) as LogIndex);
  }

  lastIndex(): LogIndex {
    return (this.unstable.lastIndex() ?? this.stable.lastIndex()) as LogIndex;
  }

  lastTerm(): Term {
    return present(this.term(this.lastIndex()), "term of the last entry");
  }

  /** The term of entry `index`; undefined if it is compacted or not there yet. */
  term(index: number): Term | undefined {
    const term = this.unstable.term(index);
    if (term !== undefined) return term;
    if (index + 1 < this.firstIndex() || index > this.lastIndex()) return undefined;
    return this.stable.term(index as LogIndex);
  }

  matchTerm(index: LogIndex, term: Term): boolean {
    return this.term(index) === term;
  }

  /** Whether a log that ends with (index, term) is at least as new (Raft paper 5.4.1). */
  isUpToDate(index: LogIndex, term: Term): boolean {
    const lastTerm = this.lastTerm();
    return term > lastTerm || (term === lastTerm && index >= this.lastIndex());
  }

  /** Entries lo..hi-1 within maxBytes, at least one; undefined if lo is compacted. */
  slice(lo: LogIndex, hi: LogIndex, maxBytes: number): readonly Entry[] | undefined {
    assert(lo <= hi && hi <= this.lastIndex() + 1, "slice of the log", lo, hi, this.lastIndex());
    if (lo < this.firstIndex()) return undefined;
    if (lo === hi) return [];
    const { offset } = this.unstable;
    if (lo >= offset) return limitSize(this.unstable.slice(lo, hi), maxBytes);
    const cut = Math.min(hi, offset) as LogIndex;
    const entries = this.stable.entries(lo, cut, maxBytes);
    assert(entries.length > 0 && entries[0]?.index === lo, "the stable log has no gap", lo, cut);
    if (hi <= offset || entries.length < cut - lo) return entries;
    const size = entriesSize(entries);
    if (size >= maxBytes) return entries;
    const rest = limitSize(this.unstable.slice(offset, hi), maxBytes - size);
    if (rest.length === 1 && size + entriesSize(rest) > maxBytes) return entries;
    return [...entries, ...rest];
  }

  /** From `lo` to the end of the log. */
  entriesFrom(lo: LogIndex, maxBytes: number): readonly Entry[] | undefined {
    if (lo > this.lastIndex()) return [];
    return this.slice(lo, (this.lastIndex() + 1) as LogIndex, maxBytes);
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index > this.committed, "committed entries stay", first.index, this.committed);
    this.unstable.truncateAndAppend(entries);
  }

  /**
   * A follower's append (Raft paper 5.3): only a conflict truncates, so that a late or repeated
   * message never takes entries away (FAULTS B14).
   * @returns the last index now known equal to the leader's, or undefined if prev does not match
   */
  maybeAppend(
    prevIndex: LogIndex,
    prevTerm: Term,
    entries: readonly Entry[],
    commit: LogIndex,
  ): LogIndex | undefined {
    if (!this.matchTerm(prevIndex, prevTerm)) return undefined;
    const lastNew = (prevIndex + entries.length) as LogIndex;
    const at = entries.findIndex((entry) => !this.matchTerm(entry.index, entry.term));
    if (at >= 0) this.append(at === 0 ? entries : entries.slice(at));
    // Only as far as this message vouches for the log (FAULTS B15).
    this.commitTo(Math.min(commit, lastNew) as LogIndex);
    return lastNew;
  }

  /**
   * The highest index ≤ `index` whose term is ≤ `term`: where the logs may meet. Skips a whole
   * term per round trip (Raft paper 5.3, last part).
   * @returns term 0 if that entry's term is not known here
   */
  findConflictByTerm(index: LogIndex, term: Term): { index: LogIndex; term: Term } {
    for (let at: number = index; at > 0; at--) {
      const ours = this.term(at);
      if (ours === undefined) return { index: at as LogIndex, term: 0 as Term };
      if (ours <= term) return { index: at as LogIndex, term: ours };
    }
    return { index: 0 as LogIndex, term: 0 as Term };
  }

  /**
   * Moves the commit index forward; never back.
   * @throws InvariantError if `to` is past the log: entries were lost (Raft paper 5.4)
   */
  commitTo(to: LogIndex): void {
    if (to <= this.committed) return;
    assert(to <= this.lastIndex(), "the log has what is committed", to, this.lastIndex());
    this.committed = to;
  }

  /** Leader: commits if that entry is of its own term (Raft paper 5.4.2; FAULTS B13). */
  maybeCommit(index: LogIndex, term: Term): boolean {
    if (index <= this.committed || term === 0 || !this.matchTerm(index, term)) return false;
    this.commitTo(index);
    return true;
  }

  /** Highest index that may be applied now. */
  private appliableIndex(allowUnstable: boolean): LogIndex {
    if (allowUnstable) return this.committed;
    return Math.min(this.committed, this.unstable.offset - 1) as LogIndex;
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    // A snapshot under way comes first: what follows it applies on top.
    if (this.applyingPaused || this.unstable.snapshot !== null) return false;
    return this.applying < this.appliableIndex(allowUnstable);
  }

  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return [];
    const hi = (this.appliableIndex(allowUnstable) + 1) as LogIndex;
    const room = this.applyingBytesMax - this.applyingBytes;
    assert(room > 0, "room to apply", this.applyingBytes);
    const lo = (this.applying + 1) as LogIndex;
    return present(this.slice(lo, hi, room), "unapplied entries are not compacted");
  }

  /** These entries were handed out; more wait until enough of them are applied. */
  acceptApplying(entries: readonly Entry[], allowUnstable: boolean): void {
    const last = entries[entries.length - 1];
    if (last === undefined) return;
    assert(last.index <= this.committed, "only committed entries apply", last.index);
    this.applying = last.index;
    this.applyingBytes += entriesSize(entries);
    this.applyingPaused =
      this.applyingBytes >= this.applyingBytesMax ||
      last.index < this.appliableIndex(allowUnstable);
  }

  /** @param bytes - entriesSize of what was applied with this call */
  appliedTo(index: LogIndex, bytes: number): void {
    assert(
      this.applied <= index && index <= this.committed,
      "applied grows up to the commit index",
      this.applied,
      index,
      this.committed,
    );
    this.applied = index;
    this.applying = Math.max(this.applying, index) as LogIndex;
    this.applyingBytes = Math.max(0, this.applyingBytes - bytes);
    this.applyingPaused = this.applyingBytes >= this.applyingBytesMax;
  }

  /** The newest snapshot, for a follower; null: none can be had now. */
  snapshot(): SnapshotMeta | null {
    return this.unstable.snapshot ?? this.stable.snapshotMeta();
  }

  restore(snapshot: SnapshotMeta): void {
    assert(snapshot.index > this.committed, "a snapshot is newer", snapshot.index, this.committed);
    this.committed = snapshot.index;
    this.unstable.restore(snapshot);
  }
}
