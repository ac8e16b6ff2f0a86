/** A stable log in memory for tests. Everything appended counts as durable. */
import { assert, present } from "../../src/base/assert.ts";
import type { LogIndex, StoreId, Term } from "../../src/base/brand.ts";
import { emptyMembership } from "../../src/raft/conf-change.ts";
import { limitSize } from "../../src/raft/log.ts";
import type {
  Entry,
  HardState,
  LogReader,
  Membership,
  SnapshotMeta,
} from "../../src/raft/types.ts";

export class MemoryLog implements LogReader {
  hardState: HardState = { term: 0 as Term, vote: 0 as StoreId, commit: 0 as LogIndex };
  membership: Membership = emptyMembership;
  /** The newest snapshot the state machine could give. */
  newest: SnapshotMeta | null = null;
  private base = { index: 0 as LogIndex, term: 0 as Term };
  private list: Entry[] = [];

  initialState(): { hardState: HardState; membership: Membership } {
    return { hardState: this.hardState, membership: this.membership };
  }

  firstIndex(): LogIndex {
    return (this.base.index + 1) as LogIndex;
  }

  lastIndex(): LogIndex {
    return (this.base.index + this.list.length) as LogIndex;
  }

  term(index: LogIndex): Term {
    if (index === this.base.index) return this.base.term;
    return present(this.list[index - this.base.index - 1], `term of ${index}`).term;
  }

  entries(lo: LogIndex, hi: LogIndex, maxBytes: number): readonly Entry[] {
    assert(this.firstIndex() <= lo && lo < hi && hi <= this.lastIndex() + 1, "bounds", lo, hi);
    const from = lo - this.base.index - 1;
    return limitSize(this.list.slice(from, from + hi - lo), maxBytes);
  }

  snapshotMeta(): SnapshotMeta | null {
    return this.newest;
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index > this.base.index && first.index <= this.lastIndex() + 1, "no gap");
    this.list = [...this.list.slice(0, first.index - this.base.index - 1), ...entries];
  }

  applySnapshot(snapshot: SnapshotMeta): void {
    this.base = { index: snapshot.index, term: snapshot.term };
    this.membership = snapshot.membership;
    this.newest = snapshot;
    this.list = [];
  }

  /** Drops the entries up to `index`. */
  compact(index: LogIndex): void {
    const term = this.term(index);
    this.list = this.list.slice(index - this.base.index);
    this.base = { index, term };
  }
}
