/** Many seeds on both cores: each worker thread takes every n-th. */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { createScenario } from "./scenario.ts";
import { type Report, simulate } from "./simulation.ts";

export type Outcome =
  | { readonly kind: "passed"; readonly seed: number; readonly report: Report }
  | { readonly kind: "failed"; readonly seed: number; readonly text: string };

export interface SeedRange {
  readonly first: number;
  readonly count: number;
}

export interface Totals {
  readonly failures: readonly { readonly seed: number; readonly text: string }[];
  readonly virtualHours: number;
  readonly events: number;
  readonly entries: number;
  readonly answers: number;
  readonly starts: number;
  readonly faults: number;
}

const threads = 2;
/** Threads do not inherit the loader that reads TypeScript. */
const bootstrap = `
  import("tsx/esm/api").then(({ register }) => {
    register();
    return import(${JSON.stringify(import.meta.url)});
  });
`;
/** Failures that a range goes on after. */
const failuresMax = 20;

/** Plays one seed. A failure comes with the command that repeats it. */
export async function runSeed(
  seed: number,
  log: ((line: string) => void) | null,
): Promise<Outcome> {
  const stray: unknown[] = [];
  const note = (error: unknown) => void stray.push(error);
  process.on("unhandledRejection", note);
  try {
    const report = await simulate(createScenario(seed), log);
    // Rejections that nobody handles are told once the loop has turned.
    await new Promise((resolve) => setImmediate(resolve));
    if (stray.length > 0) throw stray[0];
    return { kind: "passed", seed, report };
  } catch (error) {
    const name = `0x${seed.toString(16)}`;
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const text = `seed ${name} fails: ${what}\n  again: npm run sim -- --seed ${name} --log`;
    return { kind: "failed", seed, text };
  } finally {
    process.off("unhandledRejection", note);
  }
}

/** Plays seeds first .. first + count - 1. */
export async function runSeeds({ first, count }: SeedRange): Promise<Totals> {
  const parts = Array.from({ length: threads }, (_, i) => playInThread(first + i, first + count));
  const outcomes = (await Promise.all(parts)).flat().sort((a, b) => a.seed - b.seed);
  const failures: { seed: number; text: string }[] = [];
  const sums = { virtualHours: 0, events: 0, entries: 0, answers: 0, starts: 0, faults: 0 };
  for (const outcome of outcomes) {
    if (outcome.kind === "failed") {
      failures.push({ seed: outcome.seed, text: outcome.text });
      continue;
    }
    const { report } = outcome;
    sums.virtualHours += report.virtualMs / 3_600_000;
    sums.events += report.events;
    sums.entries += report.entries;
    sums.answers += report.answers;
    sums.starts += report.starts;
    sums.faults += report.faults;
  }
  return { failures, ...sums };
}

function playInThread(from: number, end: number): Promise<Outcome[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(bootstrap, { eval: true, workerData: { from, end } });
    worker.on("message", resolve);
    worker.on("error", reject);
  });
}

async function play(from: number, end: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let failures = 0;
  for (let seed = from; seed < end && failures < failuresMax; seed += threads) {
    const outcome = await runSeed(seed, null);
    if (outcome.kind === "failed") failures++;
    outcomes.push(outcome);
  }
  return outcomes;
}

if (!isMainThread && parentPort !== null && isRange(workerData)) {
  parentPort.postMessage(await play(workerData.from, workerData.end));
}

function isRange(data: unknown): data is { readonly from: number; readonly end: number } {
  return typeof data === "object" && data !== null && "from" in data && "end" in data;
}
