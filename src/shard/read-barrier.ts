/**
 * Makes reads linearizable (thesis 6.4): a read waits until this replica has applied what was
 * committed when the read was asked, and a quorum has confirmed whose log that is. Reads that are
 * asked while a question is being put share the next one.
 */
import type { Random, TimerHandle, Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import type { ReadState } from "../raft/types.ts";

export interface ReadBarrierDeps {
  readonly timers: Timers;
  readonly random: Random;
  /** Asks the core. @returns false if it is certain that no answer will come */
  readonly ask: (requestId: number) => boolean;
  readonly appliedIndex: () => number;
  /** How long an answer may take before the question is put again, and how often it is. */
  readonly retryMs: number;
  readonly tries: number;
}

/** Leaves room for as many questions as a process can put. */
const requestIdsMax = 2 ** 52;

interface Read {
  readonly resolve: () => void;
  readonly reject: (error: QueueError) => void;
}

interface Round {
  readonly reads: readonly Read[];
  triesLeft: number;
}

export class ReadBarrier {
  private readonly deps: ReadBarrierDeps;
  private waiting: Read[] = [];
  /** The question that is put, until it is answered. Its id is never used again (B46). */
  private round: Round | null = null;
  private requestId: number;
  private timer: TimerHandle | null = null;
  /** Answered; the index is not applied yet. Ascending. */
  private applying: { readonly index: number; readonly reads: readonly Read[] }[] = [];
  private scheduled = false;

  constructor(deps: ReadBarrierDeps) {
    this.deps = deps;
    // A leader may still answer what an earlier process of this replica asked, with an older index.
    this.requestId = Math.floor(deps.random.unit() * requestIdsMax);
  }

  /** Resolves when a read here sees all that was acknowledged before. @throws QueueError no_leader */
  wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.scheduled || this.round) return;
    this.scheduled = true;
    // All reads of this turn share a question.
    this.deps.timers.soon(() => {
      this.scheduled = false;
      this.put();
    });
  }

  private put(): void {
    if (this.round || this.waiting.length === 0) return;
    const { waiting } = this;
    this.waiting = [];
    this.round = { reads: waiting, triesLeft: this.deps.tries };
    this.ask(this.round);
  }

  private ask(round: Round): void {
    if (round.triesLeft-- === 0) {
      this.round = null;
      fail(round.reads);
      this.put();
      return;
    }
    this.timer = this.deps.timers.after(this.deps.retryMs, () => this.ask(round));
    // Refused: no leader is known right now; the timer asks again.
    this.deps.ask(++this.requestId);
  }

  answered({ requestId, index }: ReadState): void {
    const { round } = this;
    if (!round || requestId !== this.requestId) return;
    this.timer?.cancel();
    this.round = null;
    const at = this.applying.findIndex((waiting) => waiting.index > index);
    this.applying.splice(at < 0 ? this.applying.length : at, 0, { index, reads: round.reads });
    this.applied();
    this.put();
  }

  /** Calls back once the entry of this index is applied here; never inside this call. */
  whenApplied(index: number, callback: () => void): void {
    const read = { resolve: callback, reject: () => undefined };
    const at = this.applying.findIndex((waiting) => waiting.index > index);
    this.applying.splice(at < 0 ? this.applying.length : at, 0, { index, reads: [read] });
    this.deps.timers.soon(() => this.applied());
  }

  /** To be called after each turn of applying. */
  applied(): void {
    const applied = this.deps.appliedIndex();
    while (this.applying[0] && this.applying[0].index <= applied) {
      for (const read of this.applying.shift()?.reads ?? []) read.resolve();
    }
  }

  stop(): void {
    this.timer?.cancel();
    const rounds = [...this.applying.map(({ reads }) => reads), this.round?.reads ?? []];
    this.applying = [];
    this.round = null;
    for (const reads of [...rounds, this.waiting.splice(0)]) fail(reads);
  }
}

function fail(reads: readonly Read[]): void {
  const error = new QueueError("no_leader", "no leader confirmed the read in time", {
    retryAfterSeconds: 1,
  });
  for (const read of reads) read.reject(error);
}
