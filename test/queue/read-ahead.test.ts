/**
 * Goal: what happens to be in memory never changes a result (DESIGN section 2). One log is applied
 * by replicas that read ahead 1 row, 7 rows and everything, save and forget at different times, and
 * restart or not; after every entry all of them give the same answers and have the same state.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { it } from "node:test";
import fc from "fast-check";
import { EntryWriter } from "../../src/queue/command-codec.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import { Model } from "./model.ts";
import { type Op, type Outcome, toCommand } from "./ops.ts";
import { steps, toOp } from "./sequences.ts";

const entries = 250;
const startMs = 1_700_000_000_000;

/** Random entries of 1 to 4 commands, made sense of by the model. */
function recordLog(seed: number): Buffer[] {
  const random = fc.sample(steps(entries), { seed, numRuns: 60 }).flat();
  const model = new Model();
  const tokens = new Map<string, number>();
  const log: Buffer[] = [];
  let now = startMs;
  for (let i = 0; i + 4 < random.length && log.length < entries; i += 4) {
    const some = random.slice(i, i + 1 + (i % 4));
    now += some[0]?.dt ?? 0;
    const ops: Op[] = some.map((step, place) => toOp(step, model, tokens, place));
    const writer = new EntryWriter(now, 256);
    ops.forEach((op, place) => {
      writer.add(toCommand(op));
      const outcome = model.apply(op, now, log.length + 1, place);
      if (outcome.kind !== "claimed") return;
      for (const { key, place: at, token } of outcome.grants) tokens.set(`${key} ${at}`, token);
    });
    log.push(writer.finish());
  }
  assert.equal(log.length, entries);
  return log;
}

/** Over everything that is replicated: rows, queues, turns and counters. */
function stateHash(engine: Engine): string {
  const { state } = engine;
  const hash = createHash("sha256");
  for (const [key, value] of engine.exported()) {
    hash.update(`${key.length} ${value.length} `).update(Buffer.from(key, "latin1")).update(value);
  }
  for (const id of [...state.queues.keys()].sort((a, b) => a - b)) {
    const queue = state.queues.get(id);
    const { name, paused, ready, delayed, leased, dead, ended } = queue ?? {};
    const tenant = queue?.tenant;
    const row = { id, name, paused, ready, delayed, leased, dead, ended };
    hash.update(JSON.stringify({ ...row, tenant: tenant?.name, cursor: tenant?.cursor }));
  }
  return hash.update(JSON.stringify([state.counters, state.settings])).digest("hex");
}

interface Replica {
  readonly name: string;
  readonly options: EngineOptions;
  /** What it does before entry i. */
  between(engine: Engine, i: number): void | Promise<void>;
}

const replicas: readonly Replica[] = [
  {
    name: "everything in memory, never saved",
    options: { readAhead: { readyRows: 512, dueRows: 512 }, evictBytes: 1e9 },
    between: () => undefined,
  },
  {
    name: "reads 1 row, saves and forgets at every entry",
    options: { readAhead: { readyRows: 1, dueRows: 1 }, evictBytes: 0 },
    between: (engine) => engine.checkpoint(),
  },
  {
    name: "reads 1 row, restarts at every fifth entry",
    options: { readAhead: { readyRows: 1, dueRows: 1 }, evictBytes: 0 },
    between: (engine, i) => (i % 5 === 0 ? engine.crash(i % 2 === 0) : engine.beginCheckpoint()),
  },
  {
    name: "reads 7 rows, saves now and then, keeps little",
    options: { readAhead: { readyRows: 7, dueRows: 7 }, evictBytes: 3000 },
    between: (engine, i) => {
      engine.landDuringRead = i % 3 === 0;
      if (i % 4 === 0) engine.beginCheckpoint();
      if (i % 6 === 0) engine.landCheckpoint();
    },
  },
  {
    name: "reads everything, restarts now and then",
    options: { readAhead: { readyRows: 512, dueRows: 512 }, evictBytes: 1e9 },
    between: async (engine, i) => {
      if (i % 17 === 0) engine.checkpoint();
      if (i % 13 === 0) await engine.crash(true);
    },
  },
];

async function replay(log: readonly Buffer[], { options, between }: Replica) {
  const engine = new Engine(options);
  const trail: { readonly outcomes: Outcome[]; readonly hash: string }[] = [];
  for (const [i, entry] of log.entries()) {
    await between(engine, i);
    const outcomes = await engine.append(entry);
    trail.push({ outcomes, hash: stateHash(engine) });
  }
  engine.check();
  return { trail, reads: engine.kv.reads };
}

for (const seed of [1, 2, 3]) {
  it(`gives the same state after every entry, however much is read ahead (log ${seed})`, async () => {
    const log = recordLog(seed);
    const [first, ...others] = replicas;
    const { trail: wanted } = await replay(log, first as Replica);
    assert.ok(new Set(wanted.map(({ hash }) => hash)).size > entries / 2, "the log does something");
    for (const replica of others) {
      const { trail, reads } = await replay(log, replica);
      assert.ok(reads > 0, `${replica.name} asks the store`);
      trail.forEach((step, i) => {
        assert.deepEqual(step, wanted[i], `${replica.name}, entry ${i + 1} of log ${seed}`);
      });
    }
  });
}
