/**
 * The queue as the shard runs it, in the hands of a test: entries are encoded and decoded, needs
 * are loaded, checkpoints begin and land when the test says so, and a crash leaves the store and
 * the log.
 */
import assert from "node:assert/strict";
import { toLogIndex } from "../../src/base/brand.ts";
import { ByteWriter } from "../../src/base/bytes.ts";
import { Applier, enterEntry } from "../../src/queue/apply.ts";
import { EntryReader, EntryWriter } from "../../src/queue/command-codec.ts";
import { checkInvariants, exportRows } from "../../src/queue/invariants.ts";
import { prefixes } from "../../src/queue/keys.ts";
import { col, leaseExpiredResult, type Run, taskState } from "../../src/queue/run.ts";
import { decodeRun } from "../../src/queue/run-codec.ts";
import { readResultRow } from "../../src/queue/settle-groups.ts";
import { resultKey, State } from "../../src/queue/state.ts";
import { evictRuns, putCheckpoint, readState } from "../../src/shard/checkpoint.ts";
import { loadNeeds, type ReadAhead } from "../../src/shard/loader.ts";
import type { Trace } from "./model-task.ts";
import { type Op, type Outcome, toCommand, toOutcome } from "./ops.ts";
import { type TestBatch, TestKv } from "./test-kv.ts";

export interface EngineOptions {
  readonly readAhead: ReadAhead;
  /** Bytes of runs kept in memory after a checkpoint landed. */
  readonly evictBytes: number;
}

interface LogEntry {
  readonly data: Buffer;
  readonly outcomes: readonly Outcome[];
}

/** More rounds of loading than any command of a test needs: a command that never has enough hangs. */
const loadRoundsMax = 2_000;

export class Engine {
  readonly kv = new TestKv();
  state = new State(true);
  readonly options: EngineOptions;
  readonly log: LogEntry[] = [];
  private applier = new Applier(this.state);
  private pending: { readonly batch: TestBatch; readonly generation: number } | null = null;
  /** Last checkpoint begun, and last one landed. */
  private generation = 0;
  private durable = 0;
  private loading = false;
  /** Land the pending checkpoint in the middle of the next read. */
  landDuringRead = false;

  constructor(options: EngineOptions) {
    this.options = options;
  }

  /** Log index of the last entry. */
  get index(): number {
    return this.log.length;
  }

  /** Runs the operations as one entry. */
  async run(timeMs: number, ops: readonly Op[]): Promise<Outcome[]> {
    const writer = new EntryWriter(timeMs, 256);
    for (const op of ops) writer.add(toCommand(op));
    return this.append(writer.finish());
  }

  /** Appends an entry to the log and applies it. */
  async append(data: Buffer): Promise<Outcome[]> {
    const outcomes = await this.applyEntry(data, this.index + 1);
    this.log.push({ data, outcomes });
    this.evict();
    return outcomes;
  }

  private async applyEntry(data: Buffer, index: number): Promise<Outcome[]> {
    const entry = new EntryReader(data);
    enterEntry(this.state, entry.timeMs);
    const outcomes: Outcome[] = [];
    for (;;) {
      const { place } = entry;
      const command = entry.next();
      if (!command) return outcomes;
      for (let round = 0; ; round++) {
        assert.ok(round < loadRoundsMax, `${command.kind} is never given enough`);
        const needs = this.applier.needs(command);
        if (!needs) break;
        if (this.landDuringRead) this.kv.duringRead = () => this.landCheckpoint();
        this.loading = true;
        await loadNeeds(this.state, this.kv, needs, this.options.readAhead);
      }
      this.loading = false;
      this.kv.duringRead = null;
      outcomes.push(toOutcome(this.applier.apply(command, toLogIndex(index), place)));
    }
  }

  beginCheckpoint(): void {
    if (this.pending) return;
    const batch = this.kv.batch();
    const applied = { index: this.index, term: 1 };
    putCheckpoint(this.state, batch, applied, ++this.generation, new ByteWriter(256));
    this.pending = { batch, generation: this.generation };
  }

  landCheckpoint(): void {
    if (!this.pending) return;
    const { batch, generation } = this.pending;
    batch.land();
    this.pending = null;
    this.durable = generation;
    this.state.overlay.thaw();
    this.evict();
  }

  private evict(): void {
    // Never between the loading for a command and its apply.
    if (this.loading) return;
    evictRuns(this.state, this.options.evictBytes, this.durable);
    this.state.windows.evict(this.options.evictBytes);
  }

  checkpoint(): void {
    this.landCheckpoint();
    this.beginCheckpoint();
    this.landCheckpoint();
  }

  /** The process ends and starts again; a checkpoint on its way has landed or not. */
  async crash(landed: boolean): Promise<void> {
    if (landed) this.pending?.batch.land();
    this.pending = null;
    this.generation = 0;
    this.durable = 0;
    const { state, applied } = await readState(this.kv, { cutIndex: 0, cutTerm: 0 });
    this.state = state;
    this.applier = new Applier(state);
    for (let i = applied.index; i < this.log.length; i++) {
      const { data, outcomes } = this.log[i] as LogEntry;
      assert.deepEqual(await this.applyEntry(data, i + 1), outcomes, `replay of entry ${i + 1}`);
    }
  }

  /** Every row that a checkpoint now would leave in the store; the state is not changed. */
  exported(): Map<string, Uint8Array> {
    const { rows } = this.kv;
    const stored: [string, Uint8Array][] = [];
    for (let i = 0; i < rows.size; i++) {
      const key = rows.keyAt(i);
      stored.push([key, rows.get(key) as Buffer]);
    }
    return exportRows(this.state, stored);
  }

  check(): void {
    checkInvariants(this.state, this.exported());
  }

  /** The run as it is now, without bringing it into memory. */
  peek(key: string): Run | undefined {
    const inMemory = this.state.run(key);
    if (inMemory) return inMemory;
    if (this.state.isKnownAbsent(key)) return undefined;
    const row = this.kv.rows.get(prefixes.run + key);
    return row && decodeRun(key, row, (id) => this.state.queues.get(id));
  }

  /** What the task's last settling left. */
  trace(run: Run, place: number): Trace | null {
    const reference = run.get(col.RESULT, place);
    if (reference === 0) return null;
    if (reference === leaseExpiredResult) return { op: "expired", result: null, error: "" };
    const key = resultKey(Math.floor(reference / 256));
    const row = this.state.overlay.get(key) ?? this.kv.rows.get(key);
    assert.ok(row, "the result row is there");
    const found = readResultRow(Buffer.from(row), reference % 256);
    const ops = ["complete", "fail", "nack"] as const;
    return {
      op: ops[found.op - 1] ?? "expired",
      result: found.result?.toString() ?? null,
      error: found.error?.toString() ?? "",
    };
  }

  /** Tasks whose records are kept, by state name, of one queue. */
  counts(tenant: string, name: string): Record<string, number> {
    const queue = this.state.findQueue(tenant, name);
    if (!queue) return {};
    const { delayed, leased, dead, ended } = queue;
    return { ready: queue.readyTotal, delayed, leased, dead, ended };
  }
}

export const stateNames = Object.keys(taskState);
