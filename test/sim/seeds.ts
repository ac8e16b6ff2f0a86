/** Many seeds on all cores: worker threads take one after the other. */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Figures, type Job, type Outcome, play } from "./play.ts";

export interface Totals {
  readonly passed: number;
  /** In the order of the jobs. */
  readonly failures: readonly string[];
  readonly figures: Figures;
}

/** Threads do not inherit the loader that reads TypeScript. */
const bootstrap = `
  import("tsx/esm/api").then(({ register }) => {
    register();
    return import(${JSON.stringify(import.meta.url)});
  });
`;
const isPlayer = "plays seeds";
/** Failures after which no more seeds are begun. */
const failuresMax = 20;

export const noFigures: Figures = {
  simulatedMs: 0,
  events: 0,
  acknowledged: 0,
  faults: 0,
  crashes: 0,
  partitions: 0,
  snapshots: 0,
  memberChanges: 0,
  leaders: 0,
};

export function range(world: Job["world"], first: number, count: number): Job[] {
  return Array.from({ length: count }, (_, i) => ({ world, seed: (first + i) >>> 0 }));
}

/** @param ended - told of each outcome, in the order in which they come */
export async function playAll(
  jobs: readonly Job[],
  ended: (outcome: Outcome) => void = () => undefined,
): Promise<Totals> {
  const outcomes: (Outcome | undefined)[] = [];
  let next = 0;
  let failed = 0;
  const takeTurns = () =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(bootstrap, { eval: true, workerData: isPlayer });
      const give = () => {
        const job = failed < failuresMax ? jobs[next] : undefined;
        if (job) worker.postMessage({ number: next++, job });
        else worker.postMessage(null);
      };
      worker.on("message", (message: { number: number; outcome: Outcome } | "ready") => {
        if (message !== "ready") {
          outcomes[message.number] = message.outcome;
          if (message.outcome.kind === "failed") failed++;
          ended(message.outcome);
        }
        give();
      });
      worker.on("error", reject);
      worker.on("exit", resolve);
    });
  const threads = Math.min(availableParallelism(), jobs.length);
  await Promise.all(Array.from({ length: threads }, takeTurns));
  return sum(outcomes);
}

function sum(outcomes: readonly (Outcome | undefined)[]): Totals {
  const figures: Record<string, number> = { ...noFigures };
  const failures: string[] = [];
  let passed = 0;
  for (const outcome of outcomes) {
    if (outcome?.kind === "failed") failures.push(outcome.text);
    if (outcome?.kind !== "passed") continue;
    passed++;
    for (const [name, value] of Object.entries(outcome.figures)) {
      figures[name] = (figures[name] ?? 0) + value;
    }
  }
  return { passed, failures, figures: figures as unknown as Figures };
}

if (!isMainThread && workerData === isPlayer) {
  const port = parentPort;
  port?.on("message", (message: { number: number; job: Job } | null) => {
    if (message === null) port.close();
    else void answer(message.number, message.job);
  });
  port?.postMessage("ready");
}

/** Errors of every day are cheaper without their stacks; a seed that fails is played once more. */
async function answer(number: number, job: Job): Promise<void> {
  const depth = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  let outcome = await play(job, null);
  Error.stackTraceLimit = depth;
  if (outcome.kind === "failed") {
    const again = await play(job, null);
    if (again.kind === "failed") outcome = again;
    else outcome = { ...outcome, text: `${outcome.text}\n  and passes when it is played again` };
  }
  parentPort?.postMessage({ number, outcome });
}
