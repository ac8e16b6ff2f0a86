/**
 * The end of the log that is not known to be durable: entries, and perhaps a snapshot before them.
 *
 *   offset        offsetInProgress          offset + entries.length
 *     | being written     | not handed out yet     |
 *
 * Entries leave at the front when their write is acknowledged, and are replaced from some index
 * on when a new leader's log differs. An acknowledgement names index and term, so that one for
 * replaced entries changes nothing.
 */
import { assert } from "../base/assert.ts";
import type { LogIndex, Term } from "../base/brand.ts";
import type { Entry, SnapshotMeta } from "./types.ts";

export class Unstable {
  snapshot: SnapshotMeta | null = null;
  private snapshotInProgress = false;
  /** entries[i] has index offset + i. Invariant: offset ≤ offsetInProgress ≤ end. */
  entries: Entry[] = [];
  offset: number;
  private offsetInProgress: number;

  constructor(offset: number) {
    this.offset = offset;
    this.offsetInProgress = offset;
  }

  /** Index after the last entry. */
  get end(): number {
    return this.offset + this.entries.length;
  }

  /** undefined: ask the stable log. */
  lastIndex(): number | undefined {
    if (this.entries.length > 0) return this.end - 1;
    return this.snapshot?.index;
  }

  /** undefined: not in here. */
  term(index: number): Term | undefined {
    if (index < this.offset) {
      return this.snapshot !== null && this.snapshot.index === index
        ? this.snapshot.term
        : undefined;
    }
    return this.entries[index - this.offset]?.term;
  }

  slice(lo: number, hi: number): Entry[] {
    assert(this.offset <= lo && lo <= hi && hi <= this.end, "unstable slice", lo, hi, this.offset);
    return this.entries.slice(lo - this.offset, hi - this.offset);
  }

  hasNextEntries(): boolean {
    return this.offsetInProgress < this.end;
  }

  nextEntries(): Entry[] {
    return this.slice(this.offsetInProgress, this.end);
  }

  nextSnapshot(): SnapshotMeta | null {
    return this.snapshotInProgress ? null : this.snapshot;
  }

  /** Everything has been handed to the driver. */
  acceptInProgress(): void {
    this.offsetInProgress = this.end;
    if (this.snapshot !== null) this.snapshotInProgress = true;
  }

  /** The write that ended with (index, term) is durable. */
  stableTo(index: LogIndex, term: Term): void {
    // Unknown or another term: replaced meanwhile, or known from an earlier answer.
    if (index < this.offset || this.term(index) !== term) return;
    this.entries = this.entries.slice(index + 1 - this.offset);
    this.offset = index + 1;
    this.offsetInProgress = Math.max(this.offsetInProgress, this.offset);
  }

  stableSnapshotTo(index: LogIndex): void {
    if (this.snapshot === null || this.snapshot.index !== index) return;
    this.snapshot = null;
    this.snapshotInProgress = false;
  }

  restore(snapshot: SnapshotMeta): void {
    this.offset = snapshot.index + 1;
    this.offsetInProgress = this.offset;
    this.entries = [];
    this.snapshot = snapshot;
    this.snapshotInProgress = false;
  }

  /** Appends, after dropping what stands at the same indexes and behind. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const first = entries[0];
    assert(first !== undefined, "entries to append", entries.length);
    const from = first.index;
    assert(from <= this.end, "no gap in the log", from, this.end);
    if (from === this.end) {
      for (const entry of entries) this.entries.push(entry);
      return;
    }
    // What was handed out before stays untouched: a new array, never a change in place.
    this.entries =
      from <= this.offset
        ? entries.slice()
        : [...this.entries.slice(0, from - this.offset), ...entries];
    this.offset = Math.min(this.offset, from);
    this.offsetInProgress = Math.min(this.offsetInProgress, from);
  }
}
