/**
 * `npm run bench:failover`: three nodes with a backlog and, beside it, a load as fast as it can; the
 * leader is killed, stopped, cut off, asked to hand over, restarted. Timed by clients that ask every
 * node (failover/modes.ts). At the end every task that was acknowledged must be there.
 */
import { ClusterProcess } from "./cluster-process.ts";
import { Clients } from "./failover/clients.ts";
import {
  backlogQueue,
  type ModeName,
  modes,
  type Stage,
  type Stalls,
  undisturbed,
} from "./failover/modes.ts";
import { type FailoverOptions, parseFailoverOptions, usage } from "./failover/options.ts";
import { buildLoad } from "./load-build.ts";
import { type LoadOutcome, runLoad } from "./load-process.ts";
import { describeMachine } from "./measure/machine.ts";
import { mean, median } from "./measurement.ts";
import { batchPlan } from "./plans.ts";
import { machineLine, rateText, writeResults } from "./report.ts";

const backlog = 10_000;
/** Longer than any run: it is told when to stop. */
const forever = 24 * 3600 * 1000;
/** Tasks of a worker whose leader died come again after so long. */
const leaseSeconds = 5;

async function run(options: FailoverOptions): Promise<void> {
  const machine = describeMachine(options.folder);
  console.log(machineLine(machine));
  if (options.hasLoad) buildLoad();
  const results: object[] = [];
  for (const name of options.modes) {
    const result = await runMode(options, name);
    results.push(result);
    if (result.problems.length > 0) process.exitCode = 1;
  }
  console.log(`kept as ${writeResults(options.name, machine, results)}`);
}

/** One mode on a cluster of its own. */
async function runMode(options: FailoverOptions, name: ModeName) {
  const env: Record<string, string> =
    options.shards === 1 ? {} : { QUORUMQ_STORAGE_NUM_SHARDS: String(options.shards) };
  const node = { folder: options.folder, env, execArgv: [], hasProxies: name === "cut" };
  const cluster = await ClusterProcess.start(node, 3);
  try {
    const clients = new Clients(cluster);
    await clients.fill(backlogQueue, backlog);
    const load = options.hasLoad ? await startLoad(cluster) : null;
    const trials = Math.max(1, Math.round(options.trials * modes[name].times));
    const stalls: Stalls[] = [];
    for (let i = 0; i < trials; i++) {
      stalls.push(await modes[name].trial({ cluster, clients }, i));
      await cluster.settled();
    }
    const outcome = load === null ? null : await load.end();
    const problems = await problemsOf({ cluster, clients }, outcome);
    const result = { scenario: `failover: ${name}`, trials, backlog, ...outlineOf(outcome) };
    report(name, stalls, outcome, problems);
    return { ...result, stallsMs: stalls, problems };
  } finally {
    await cluster.stop();
  }
}

/** Resolves when the load has warmed up. */
async function startLoad(cluster: ClusterProcess): Promise<{ end(): Promise<LoadOutcome> }> {
  const shape = { warmupMs: 5_000, measureMs: forever, payloadBytes: 14 };
  const plan = { ...batchPlan(cluster.target, shape), leaseSeconds };
  const stop = new AbortController();
  let outcome: Promise<LoadOutcome> | null = null;
  await new Promise<void>((resolve, reject) => {
    // the nodes come and go: the process whose clock is watched is this one
    const options = { serverPid: process.pid, execArgv: [], stop: stop.signal };
    outcome = runLoad(plan, { ...options, measuring: resolve });
    outcome.catch(reject);
  });
  return {
    end: () => {
      stop.abort();
      return outcome as unknown as Promise<LoadOutcome>;
    },
  };
}

/** What was acknowledged and is not there, or was done twice; empty if all is well. */
async function problemsOf(stage: Stage, outcome: LoadOutcome | null): Promise<string[]> {
  const { cluster, clients } = stage;
  const problems: string[] = [];
  for (const id of clients.created) {
    const state = await clients.stateOf(id);
    if (state !== "ready") problems.push(`task ${id} was acknowledged and is ${state}`);
  }
  const leader = await cluster.leader();
  const queue = JSON.parse(await leader.get(`/v1/admin/queues/${backlogQueue}`));
  const kept = queue.ready + queue.leased + queue.delayed;
  if (kept !== backlog) problems.push(`${kept} of ${backlog} tasks of the backlog are there`);
  if (outcome === null) return problems;
  const { sent, created, completedTwice, unknown } = outcome.counts;
  if (sent !== created) problems.push(`${sent - created} creates were never acknowledged`);
  if (completedTwice > 0) problems.push(`${completedTwice} tasks were completed twice`);
  if (unknown > 0) problems.push(`${unknown} deliveries of tasks that nobody sent`);
  for (const { id } of outcome.samples) {
    const state = await clients.stateOf(id);
    if (state !== "completed") problems.push(`task ${id} of the load is ${state}`);
  }
  return problems;
}

function outlineOf(outcome: LoadOutcome | null): object {
  if (outcome === null) return { load: "none" };
  const { cyclesPerSecond, counts, refusals } = outcome;
  return { cyclesPerSecond: mean(cyclesPerSecond), perSecond: cyclesPerSecond, counts, refusals };
}

function report(
  name: ModeName,
  stalls: readonly Stalls[],
  outcome: LoadOutcome | null,
  problems: readonly string[],
): void {
  const { title, bars } = modes[name];
  const load = outcome === null ? "no load" : rateText(mean(outcome.cyclesPerSecond));
  console.log(`${title}, ${stalls.length} times, beside ${load}`);
  for (const what of Object.keys(stalls[0] ?? {})) {
    const values = stalls.map((trial) => trial[what] as number).sort((a, b) => a - b);
    const p99 = values[Math.ceil(values.length * 0.99) - 1] as number;
    const figures = { median: median(values), p99, worst: values.at(-1) as number };
    const texts = (["median", "p99", "worst"] as const).map((name) => {
      const verdict = figures[name] <= bars[name] ? "holds" : "MISSED";
      const hasBar = Number.isFinite(bars[name]) && what !== undisturbed;
      const bar = hasBar ? ` (at most ${bars[name]}: ${verdict})` : "";
      return `${name} ${figures[name].toFixed(0)} ms${bar}`;
    });
    console.log(`    ${what}: ${texts.join(", ")}`);
  }
  for (const { reason, times } of outcome?.refusals ?? []) {
    console.log(`    the load was told ${times} times: ${reason}`);
  }
  for (const problem of problems) console.log(`    INVALID: ${problem}`);
}

try {
  const options = parseFailoverOptions(process.argv.slice(2));
  await run(options);
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
  process.exitCode = 1;
}
