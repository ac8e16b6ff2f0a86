/**
 * Term and vote of one shard's replica, beside the store and not in it: one fsync per vote, and
 * out of reach of what LevelDB may lose or bring back (FAULTS S5). A reply that depends on them
 * leaves only when `save` has resolved (Raft paper 5.1).
 */
import { assert } from "../base/assert.ts";
import { type StoreId, type Term, toStoreId, toTerm } from "../base/brand.ts";
import type { Files } from "./files.ts";
import { createSlotFile, openSlotFile, type SlotFile, type SlotFormat } from "./slot-file.ts";

const format: SlotFormat = { name: "vote", magic: 0x5156_4f54, fields: 2 };

export interface Vote {
  readonly term: Term;
  /** The replica that got this replica's vote in the term; 0 = none yet. */
  readonly vote: StoreId;
}

export interface VoteFile {
  /** What is on disk. */
  load(): Vote;
  /**
   * Resolves when term and vote are durable. Calls are served in order, and calls that wait are
   * merged into one write of the last.
   * Invariant: the term never falls, and a vote of a term is never changed (Raft paper 5.2).
   * @throws StorageError io: the outcome is unknown, the node must end
   */
  save(term: Term, vote: StoreId): Promise<void>;
  /** The same at once; not while a save is under way. */
  saveSync(term: Term, vote: StoreId): void;
  /** Not while a save is under way. */
  closeSync(): void;
}

/**
 * Makes the vote file of a new shard directory: no vote. Sync the directory afterwards.
 * @param term - 0, or, in the place of a lost one, where nobody else votes, the last that is known
 */
export function initVoteFile(files: Files, directory: string, term = 0): void {
  createSlotFile(files, votePath(directory), format, [term, 0]);
}

/**
 * Opens the vote file of a shard directory.
 * @throws StorageError missing, corrupt, newer_format, io
 */
export function createVoteFile(files: Files, directory: string): VoteFile {
  return new Votes(openSlotFile(files, votePath(directory), format));
}

class Votes implements VoteFile {
  readonly #slots: SlotFile;
  /** The newest that save was called with; what is durable stands in the slots. */
  #wanted: Vote;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(slots: SlotFile) {
    this.#slots = slots;
    this.#wanted = this.load();
  }

  load(): Vote {
    const [term, vote] = this.#slots.values as readonly [number, number];
    return { term: toTerm(term), vote: toStoreId(vote) };
  }

  save(term: Term, vote: StoreId): Promise<void> {
    this.#want(term, vote);
    // A caller may be told of the write before the next one has begun; it joins that one.
    if (this.#next !== undefined) return this.#next;
    if (this.#writing === undefined) return this.#write();
    this.#next = this.#writing.then(() => {
      this.#next = undefined;
      return this.#write();
    });
    return this.#next;
  }

  saveSync(term: Term, vote: StoreId): void {
    this.#assertIdle();
    this.#want(term, vote);
    this.#slots.saveSync([term, vote]);
  }

  closeSync(): void {
    this.#assertIdle();
    this.#slots.closeSync();
  }

  #assertIdle(): void {
    const idle = this.#writing === undefined && this.#next === undefined;
    assert(idle, "no vote is being written", this.#wanted.term);
  }

  #want(term: Term, vote: StoreId): void {
    const last = this.#wanted;
    assert(term >= last.term, "the term never falls", last.term, term);
    const sameVote = term > last.term || last.vote === 0 || vote === last.vote;
    assert(sameVote, "one vote in a term", term, last.vote, vote);
    this.#wanted = { term, vote };
  }

  #write(): Promise<void> {
    const { term, vote } = this.#wanted;
    this.#writing = this.#slots.save([term, vote]).finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }
}

function votePath(directory: string): string {
  return `${directory}/vote`;
}
