/**
 * Goal: what small random sequences do not reach. Deep backlogs, many changes between two
 * checkpoints, and rows that belong to no run.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import { InvariantError } from "../../src/base/assert.ts";
import { limits } from "../../src/base/limits.ts";
import { prefixes } from "../../src/queue/keys.ts";
import { taskState } from "../../src/queue/run.ts";
import { Engine } from "./engine.ts";
import { type Op, type Outcome, runKeyOf, type TaskName } from "./ops.ts";

const tiny = { readAhead: { readyRows: 64, dueRows: 64 }, evictBytes: 0 };
const start = 1_700_000_000_000;
const mail = { tenant: "acme", queue: "mail" } as const;

function createOp(n: number, count: number, delayMs = 0): Op {
  const task = { payload: "{}", max: 1, delayMs, runAtMs: 0 };
  const tasks = Array.from({ length: count }, () => task);
  return { kind: "create", ...mail, priority: 0, key: runKeyOf(n, false), hash: null, tasks };
}

/** All in one entry. */
async function createRuns(engine: Engine, runs: number, count: number, delayMs: number) {
  await engine.run(
    start,
    Array.from({ length: runs }, (_, n) => createOp(n, count, delayMs)),
  );
}

function claimOp(count: number, leaseMs = 1000): Op {
  const limitsOfClaim = { count, bytesMax: 1e8, leaseMs, worker: "w" };
  return { kind: "claim", tenant: "acme", queues: ["mail"], ...limitsOfClaim };
}

function grantsOf(outcomes: readonly Outcome[]): readonly TaskName[] {
  const [outcome] = outcomes;
  assert.ok(outcome?.kind === "claimed");
  return outcome.grants;
}

/** Runs of one task each, all of them dead and saved. */
async function withDead(runs: number): Promise<Engine> {
  const engine = new Engine(tiny);
  await createRuns(engine, runs, 1, 0);
  for (let left = runs; left > 0; left -= 1000) await engine.run(start, [claimOp(1000)]);
  for (let left = runs; left > 0; left -= 1000) {
    await engine.run(start + 1000, [{ kind: "expire", limit: 1000 }]);
  }
  assert.deepEqual(engine.counts("acme", "mail")["dead"], runs);
  engine.checkpoint();
  return engine;
}

it("a redrive finds dead tasks behind more removed rows than it asks for", async () => {
  const runs = 600;
  const engine = await withDead(runs);
  const gone: TaskName[] = [];
  for (let n = 0; n < runs; n++) gone.push({ key: runKeyOf(n, false), place: 0 });
  gone.sort((a, b) => (a.key < b.key ? -1 : 1));
  const last = gone.splice(runs - 3);
  const states = 1 << taskState.dead;
  await engine.run(start + 2000, [{ kind: "purge", ...mail, ids: gone, states }]);
  const outcomes = await engine.run(start + 2000, [
    { kind: "redrive", ...mail, ids: [], limit: 2 },
  ]);
  assert.deepEqual(outcomes, [{ kind: "redriven", count: 2 }]);
  const keys = grantsOf(await engine.run(start + 2000, [claimOp(9)])).map(({ key }) => key);
  assert.deepEqual(keys, [last[0]?.key, last[1]?.key]);
  engine.check();
});

it("redrives in steps until nothing is dead", async () => {
  const engine = await withDead(50);
  const counts: number[] = [];
  for (let step = 0; step < 4; step++) {
    const ops: Op[] = [{ kind: "redrive", ...mail, ids: [], limit: 20 }];
    const [outcome] = await engine.run(start + 2000, ops);
    assert.ok(outcome?.kind === "redriven");
    counts.push(outcome.count);
    if (step === 1) engine.checkpoint();
  }
  assert.deepEqual(counts, [20, 20, 10, 0]);
  engine.check();
});

it("a backlog deeper than the window is claimed in order, across a restart", async () => {
  const engine = new Engine(tiny);
  const runs = 3000;
  await createRuns(engine, runs, 1, 0);
  engine.checkpoint();
  const claimed: string[] = [];
  while (claimed.length < runs) {
    const grants = grantsOf(await engine.run(start, [claimOp(700, 86_400_000)]));
    claimed.push(...grants.map(({ key }) => key));
    if (claimed.length === 1400) await engine.crash(false);
    engine.checkpoint();
  }
  assert.deepEqual(
    claimed,
    Array.from({ length: runs }, (_, n) => runKeyOf(n, false)),
  );
  engine.check();
});

it("a step of expiry touches at most its limit, of a backlog of any depth", async () => {
  const engine = new Engine(tiny);
  const runs = 300;
  await createRuns(engine, runs, 7, 5000);
  engine.checkpoint();
  await engine.crash(false);
  let woken = 0;
  for (let more = true; more; ) {
    const ops: Op[] = [{ kind: "expire", limit: limits.stepTasks }];
    const [outcome] = await engine.run(start + 5000, ops);
    assert.ok(outcome?.kind === "expired");
    assert.ok(outcome.count <= limits.stepTasks, `${outcome.count}`);
    woken += outcome.count;
    more = outcome.more;
    engine.checkpoint();
  }
  assert.equal(woken, runs * 7);
  assert.deepEqual(engine.counts("acme", "mail"), {
    ready: runs * 7,
    delayed: 0,
    leased: 0,
    dead: 0,
    ended: 0,
  });
});

for (const [prefix, name, op] of [
  [prefixes.ready, "ready", claimOp(1)],
  [prefixes.due, "due", { kind: "expire", limit: 10 }],
] as const) {
  it(`stops, and does not hang, where a ${name} row leads to no run`, async () => {
    const engine = new Engine(tiny);
    await engine.run(start, [createOp(1, 2), createOp(2, 1, 1000)]);
    engine.checkpoint();
    const { rows } = engine.kv;
    const n = prefix === prefixes.ready ? 1 : 2;
    rows.del(prefixes.run + runKeyOf(n, false));
    await engine.crash(false);
    await assert.rejects(engine.run(start + 1000, [op]), InvariantError);
  });
}

it("the checks fire: a lost row, a row too many, a wrong count", async () => {
  const make = async () => {
    const engine = new Engine(tiny);
    await engine.run(start, [createOp(1, 2), createOp(2, 1, 1000)]);
    engine.checkpoint();
    engine.check();
    return engine;
  };
  for (const prefix of [prefixes.ready, prefixes.due, prefixes.payload]) {
    const engine = await make();
    for (let i = engine.kv.rows.size - 1; i >= 0; i--) {
      const key = engine.kv.rows.keyAt(i);
      if (key.startsWith(prefix)) engine.kv.rows.del(key);
    }
    assert.throws(() => engine.check(), /a row that tasks belong to/, prefix);
  }
  for (const prefix of [prefixes.payload, prefixes.result, prefixes.retention, prefixes.dead]) {
    const engine = await make();
    engine.kv.rows.put(`${prefix}${"z".repeat(20)}`, Buffer.from("z"));
    assert.throws(() => engine.check(), /a row without a task/, prefix);
  }
  const engine = await make();
  const queue = engine.state.findQueue("acme", "mail");
  assert.ok(queue);
  queue.delayed++;
  assert.throws(() => engine.check(), /delayed: mail, 2, 1/);
});
