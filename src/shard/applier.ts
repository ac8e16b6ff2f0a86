/**
 * Takes committed entries in turn through the queue: loads what a command needs, applies it, hands
 * its result to the caller that waits on this node. Gives the event loop back between entries, so
 * that a long log blocks nobody.
 */
import type { Clock, Timers } from "../base/effects.ts";
import { enterEntry, Applier as QueueApplier } from "../queue/apply.ts";
import type { Command } from "../queue/command.ts";
import { EntryReader } from "../queue/command-codec.ts";
import type { Need } from "../queue/needs.ts";
import type { State } from "../queue/state.ts";
import type { Entry } from "../raft/types.ts";
import type { Kv } from "../storage/kv.ts";
import type { AppliedPoint } from "./checkpoint.ts";
import { loadNeeds, type ReadAhead } from "./loader.ts";
import type { CommandSink } from "./proposer.ts";

/** After this long the event loop is given back, ms. */
const sliceMs = 5;

export interface ApplierDeps {
  readonly state: State;
  readonly kv: Kv;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly readAhead: ReadAhead;
  /** Sinks of an entry that this node proposed in this term, taken out. */
  takeSinks(entry: Entry): readonly CommandSink[] | null;
  /** A membership change was committed. */
  confChange(entry: Entry): void;
  /** Too much is unsaved: applying waits until `resume` is called. */
  mustHold(): boolean;
  /** A turn of applying is over; more may follow. */
  turnOver(): void;
  fatal(error: unknown): void;
}

interface Batch {
  readonly entries: readonly Entry[];
  readonly done: () => void;
}

export class EntryApplier {
  private readonly deps: ApplierDeps;
  private readonly queue: QueueApplier;
  private readonly batches: Batch[] = [];
  private entryAt = 0;
  private reader: EntryReader | null = null;
  private sinks: readonly CommandSink[] | null = null;
  private command: Command | null = null;
  private running = false;
  private stopped = false;
  private held = false;
  private point: AppliedPoint;

  constructor(deps: ApplierDeps, applied: AppliedPoint) {
    this.deps = deps;
    this.queue = new QueueApplier(deps.state);
    this.point = applied;
  }

  /** The last entry applied whole. */
  get applied(): AppliedPoint {
    return this.point;
  }

  /** Whether the state stands at an entry's boundary: only then a checkpoint may be taken. */
  get isBetweenEntries(): boolean {
    return this.reader === null;
  }

  /** There is room again. */
  resume(): void {
    if (!this.held || this.stopped) return;
    this.held = false;
    this.run();
  }

  /** Adds committed entries; applying begins once the current code has run. */
  add(entries: readonly Entry[], done: () => void): void {
    this.batches.push({ entries, done });
    if (!this.running && !this.stopped) this.schedule();
  }

  private schedule(): void {
    this.running = true;
    // A microtask, so that the next write is on its way before this one's results are worked out.
    queueMicrotask(() => this.run());
  }

  stop(): void {
    this.stopped = true;
  }

  private run(): void {
    if (this.stopped) return;
    try {
      const waiting = this.work();
      this.deps.turnOver();
      if (waiting === "done") {
        this.running = false;
        if (this.batches.length > 0 && !this.stopped) this.schedule();
      } else if (waiting === "hold") {
        this.held = true;
      } else if (waiting === "yield") {
        this.deps.timers.soon(() => this.run());
      } else {
        waiting.then(() => this.run()).catch((error: unknown) => this.deps.fatal(error));
      }
    } catch (error) {
      this.stopped = true;
      this.deps.fatal(error);
    }
  }

  private work(): "done" | "yield" | "hold" | Promise<void> {
    const { clock } = this.deps;
    const started = clock.monotonicMs();
    for (;;) {
      const batch = this.batches[0];
      if (!batch) return "done";
      const entry = batch.entries[this.entryAt];
      if (!entry) {
        this.batches.shift();
        this.entryAt = 0;
        batch.done();
        continue;
      }
      if (this.reader === null && this.deps.mustHold()) return "hold";
      const waiting = this.applyEntry(entry);
      if (waiting) return waiting;
      this.entryAt++;
      this.point = { index: entry.index, term: entry.term };
      if (clock.monotonicMs() - started > sliceMs) return "yield";
    }
  }

  private applyEntry(entry: Entry): Promise<void> | null {
    if (entry.type !== "normal") {
      // A checkpoint that is taken at once must not hold the membership without its index.
      this.point = { index: entry.index, term: entry.term };
      this.deps.confChange(entry);
      return null;
    }
    if (entry.data.length === 0) return null;
    if (!this.reader) {
      this.reader = new EntryReader(entry.data);
      this.sinks = this.deps.takeSinks(entry);
      enterEntry(this.deps.state, this.reader.timeMs);
    }
    for (;;) {
      this.command ??= this.reader.next();
      if (!this.command) break;
      const needs = this.queue.needs(this.command);
      if (needs) {
        const waiting = this.load(needs);
        if (waiting) return waiting;
        continue;
      }
      const place = this.reader.place - 1;
      const result = this.queue.apply(this.command, entry.index, place);
      this.command = null;
      this.sinks?.[place]?.done(result);
    }
    this.reader = null;
    this.sinks = null;
    return null;
  }

  private load(needs: readonly Need[]): Promise<void> | null {
    return loadNeeds(this.deps.state, this.deps.kv, needs, this.deps.readAhead);
  }
}
