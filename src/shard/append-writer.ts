/**
 * Carries out the core's storage writes and delivers their responses in order, each when its
 * entries and its vote are durable. With durability `interval` entries are held back and written
 * together; the core is told at once.
 */
import type { LogIndex } from "../base/brand.ts";
import type { TimerHandle, Timers } from "../base/effects.ts";
import type { Entry, Message, StorageAppendMessage } from "../raft/types.ts";
import type { GroupCommit } from "../storage/group-commit.ts";
import type { KvBatch } from "../storage/kv.ts";
import type { VoteFile } from "../storage/vote-file.ts";
import type { LogStore } from "./log-store.ts";

export type Durability =
  | { readonly kind: "always" }
  | { readonly kind: "interval"; readonly ms: number };

export interface AppendWriterDeps {
  readonly log: LogStore;
  readonly commit: GroupCommit;
  readonly vote: VoteFile;
  readonly timers: Timers;
  readonly durability: Durability;
  /** Adds a checkpoint to a batch if one is due; gives what to call when it is durable. */
  readonly maybeCheckpoint: (batch: KvBatch) => (() => void) | null;
  /** Responses of writes that are durable, in order; `last` is the newest entry among them. */
  readonly deliver: (responses: readonly Message[], last: Entry | null) => void;
  /** Called after deliveries, and after a checkpoint that went alone: what waited may go on. */
  readonly delivered: () => void;
  readonly fatal: (error: unknown) => void;
}

interface Pending {
  entriesDone: boolean;
  voteDone: boolean;
  readonly responses: readonly Message[];
  readonly last: Entry | null;
}

export class AppendWriter {
  private readonly deps: AppendWriterDeps;
  private readonly pending: Pending[] = [];
  private held = new HeldOps();
  private heldTimer: TimerHandle | null = null;
  private commit: LogIndex;
  /** Settles when the last vote handed to the disk is there, or cannot be. */
  private votes: Promise<void> = Promise.resolve();

  constructor(deps: AppendWriterDeps) {
    this.deps = deps;
    this.commit = deps.log.initialState().hardState.commit;
  }

  get isWriting(): boolean {
    return this.pending.length > 0;
  }

  /** Last index of the oldest write of entries under way; null: there is none. */
  get oldestIndex(): LogIndex | null {
    return this.pending.find(({ last }) => last !== null)?.last?.index ?? null;
  }

  persist(message: StorageAppendMessage): void {
    const { entries, hardState, responses } = message;
    if (hardState) this.commit = hardState.commit;
    const saved = this.deps.vote.load();
    const votes = hardState && (hardState.term !== saved.term || hardState.vote !== saved.vote);
    const last = entries[entries.length - 1] ?? null;
    const pending: Pending = { entriesDone: !last, voteDone: !votes, responses, last };
    this.pending.push(pending);
    if (votes) {
      this.votes = this.deps.vote.save(hardState.term, hardState.vote).then(() => {
        pending.voteDone = true;
        this.deliver();
      });
      this.votes.catch((error: unknown) => this.deps.fatal(error));
    }
    if (last) this.write(entries, pending);
    else if (!votes) this.deliver();
  }

  private write(entries: readonly Entry[], pending: Pending): void {
    const { durability, timers, log } = this.deps;
    if (durability.kind === "interval") {
      // The log's reader sees the entries at once, the disk sees them together later.
      log.append(this.held, entries, this.commit);
      this.heldTimer ??= timers.after(durability.ms, () => this.writeHeld());
      timers.soon(() => {
        pending.entriesDone = true;
        this.deliver();
      });
      return;
    }
    this.add(
      (batch) => log.append(batch, entries, this.commit),
      () => {
        pending.entriesDone = true;
        this.deliver();
      },
    );
  }

  private add(fill: (batch: KvBatch) => void, done: () => void): void {
    let checkpointDone: (() => void) | null = null;
    this.deps.commit.add(
      (batch) => {
        fill(batch);
        checkpointDone = this.deps.maybeCheckpoint(batch);
      },
      () => {
        checkpointDone?.();
        done();
      },
    );
  }

  /** Writes what is held back now. */
  writeHeld(): void {
    this.heldTimer?.cancel();
    this.heldTimer = null;
    if (!this.held.isEmpty) this.writeAlone();
  }

  /** A batch of its own, for what is held back and for a checkpoint that is due. */
  writeAlone(): void {
    const { held } = this;
    this.held = new HeldOps();
    this.add(
      (batch) => held.moveTo(batch),
      () => this.deps.delivered(),
    );
  }

  private deliver(): void {
    let first = this.pending[0];
    if (!first?.entriesDone || !first.voteDone) return;
    while (first?.entriesDone && first.voteDone) {
      this.pending.shift();
      this.deps.deliver(first.responses, first.last);
      first = this.pending[0];
    }
    this.deps.delivered();
  }

  /** Puts what is held back into the last batch of an orderly end. */
  putHeld(batch: KvBatch): void {
    this.held.moveTo(batch);
  }

  /** Resolves when no vote is on its way to the disk. @throws StorageError io: one did not arrive */
  votesSaved(): Promise<void> {
    return this.votes;
  }

  stop(): void {
    this.heldTimer?.cancel();
    this.heldTimer = null;
  }
}

/** Operations kept back, in order. */
class HeldOps {
  private readonly ops: { readonly key: Uint8Array; readonly value: Uint8Array | null }[] = [];

  get isEmpty(): boolean {
    return this.ops.length === 0;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.ops.push({ key, value });
  }

  del(key: Uint8Array): void {
    this.ops.push({ key, value: null });
  }

  moveTo(batch: KvBatch): void {
    for (const { key, value } of this.ops) {
      if (value === null) batch.del(key);
      else batch.put(key, value);
    }
    this.ops.length = 0;
  }
}
