/**
 * Time of the queue state machine alone, per task: encode an entry, decode it, apply it; no store,
 * no network. Frames of 128 tasks or as many as are given, and so many entries in a row.
 *
 *   npx tsx bench/micro/queue.ts [rounds] [runs per round] [tasks per frame]
 */
import { toLogIndex } from "../../src/base/brand.ts";
import { ByteWriter } from "../../src/base/bytes.ts";
import { createRunKeySource, writeTaskId } from "../../src/base/task-id.ts";
import { Applier, enterEntry } from "../../src/queue/apply.ts";
import type { ClaimResult, Command, CommandResult } from "../../src/queue/command.ts";
import { EntryReader, EntryWriter } from "../../src/queue/command-codec.ts";
import { SettleGroupWriter } from "../../src/queue/settle-groups.ts";
import { State } from "../../src/queue/state.ts";
import { encodeTaskRecord } from "../../src/queue/task-record.ts";
import { putCheckpoint } from "../../src/shard/checkpoint.ts";
import type { KvBatch } from "../../src/storage/kv.ts";

const [rounds = 400, runs = 10, frame = 128] = process.argv.slice(2).map(Number);
const payload = Buffer.alloc(100, 120);
const task = { maxAttempts: 5, delayMs: 0, runAtMs: 0, extras: null };
const phases = ["create", "claim", "complete", "checkpoint"] as const;
type Phase = (typeof phases)[number];

/** Takes everything, keeps nothing. */
const nowhere: KvBatch = {
  put: () => undefined,
  del: () => undefined,
  ops: 0,
  bytes: 0,
  write: async () => undefined,
  discard: async () => undefined,
};

class Bench {
  private state = new State(true);
  private applier = new Applier(this.state);
  private readonly keys = createRunKeySource(Buffer.from("abcdef"));
  private readonly scratch = new ByteWriter(4096);
  private index = 0;
  private timeMs = 1_700_000_000_000;
  readonly spent = new Map<Phase, number>(phases.map((phase) => [phase, 0]));

  private measure<T>(phase: Phase, work: () => T): T {
    const from = process.hrtime.bigint();
    const result = work();
    const spent = Number(process.hrtime.bigint() - from);
    this.spent.set(phase, (this.spent.get(phase) ?? 0) + spent);
    return result;
  }

  /** One command through its entry, as the shard does it. */
  private run(command: Command): CommandResult {
    const writer = new EntryWriter(this.timeMs, 512);
    writer.add(command);
    const reader = new EntryReader(writer.finish());
    enterEntry(this.state, reader.timeMs);
    const decoded = reader.next() as Command;
    for (;;) {
      const needs = this.applier.needs(decoded);
      if (!needs) break;
      // Nothing is in a store here: a create asks whether its run is new.
      for (const need of needs) {
        if (need.kind !== "run") throw new Error("all is in memory");
        this.state.provideRun(need.key, undefined);
      }
    }
    return this.applier.apply(decoded, toLogIndex(++this.index), 0);
  }

  private create(): void {
    const key = Buffer.alloc(14);
    this.keys.next(this.timeMs, key, 0);
    const out = new ByteWriter(frame * 110);
    for (let i = 0; i < frame; i++) encodeTaskRecord(out, task, payload, 0, payload.length);
    const command = { kind: "create", tenant: "acme", queue: "mail", priority: 0 } as const;
    const rest = { key, count: frame, requestHash: null, records: out.finish() };
    const result = this.run({ ...command, ...rest });
    if (result.kind !== "created" || result.code !== 0) throw new Error("not created");
  }

  private claim(): ClaimResult {
    const result = this.run({
      kind: "claim",
      tenant: "acme",
      queues: ["mail"],
      count: frame,
      bytesMax: 3_500_000,
      leaseMs: 300_000,
      workerId: "worker-1",
    });
    if (result.kind !== "claimed" || result.count !== frame) throw new Error("not claimed");
    return result;
  }

  private complete({ grants }: ClaimResult): void {
    const out = new SettleGroupWriter();
    const id = new Uint8Array(16);
    for (const { run, places, leaseToken } of grants) {
      const key = Buffer.from(run.key, "latin1");
      for (const place of places) {
        writeTaskId(key, place, 0, 1, id);
        out.complete(id, 0, leaseToken, null);
      }
    }
    const groups = out.finish();
    const result = this.run({
      kind: "settle",
      tenant: "acme",
      workerId: "worker-1",
      count: frame,
      groups,
    });
    if (result.kind !== "settled" || result.codes.some((code) => code !== 0)) {
      throw new Error("not settled");
    }
  }

  private checkpoint(): void {
    putCheckpoint(this.state, nowhere, { index: this.index, term: 1 }, 1, this.scratch);
    this.state.overlay.thaw();
    // What a shard would evict.
    this.state.runs.clear();
    this.state.runBytes = 0;
  }

  round(runs: number): void {
    this.timeMs += 5;
    this.measure("create", () => {
      for (let i = 0; i < runs; i++) this.create();
    });
    const claims = this.measure("claim", () => Array.from({ length: runs }, () => this.claim()));
    this.measure("complete", () => {
      for (const one of claims) this.complete(one);
    });
    this.measure("checkpoint", () => this.checkpoint());
  }
}

function main(): void {
  const bench = new Bench();
  for (let i = 0; i < rounds / 4; i++) bench.round(runs);
  for (const phase of phases) bench.spent.set(phase, 0);
  for (let i = 0; i < rounds; i++) bench.round(runs);
  const tasks = rounds * runs * frame;
  let sum = 0;
  for (const [phase, spent] of bench.spent) {
    sum += spent;
    console.log(`${phase.padEnd(10)} ${(spent / tasks).toFixed(0).padStart(6)} ns/task`);
  }
  console.log(`${"all".padEnd(10)} ${(sum / tasks).toFixed(0).padStart(6)} ns/task`);
}

main();
