/** Many seeds of the cluster's simulation on both cores: each worker thread takes every second one. */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { simulateCluster } from "./cluster-sim.ts";

export interface ClusterTotals {
  readonly failures: readonly string[];
  /** Sums of the reports' figures, by name. */
  readonly sums: Readonly<Record<string, number>>;
}

const threads = 2;
const failuresMax = 10;
/** Threads do not inherit the loader that reads TypeScript. */
const bootstrap = `
  import("tsx/esm/api").then(({ register }) => {
    register();
    return import(${JSON.stringify(import.meta.url)});
  });
`;

export async function runClusterSeeds(first: number, count: number): Promise<ClusterTotals> {
  const parts = await Promise.all(
    Array.from({ length: threads }, (_, i) => playInThread(first + i, first + count)),
  );
  const sums: Record<string, number> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries(part.sums)) sums[name] = (sums[name] ?? 0) + value;
  }
  return { failures: parts.flatMap(({ failures }) => failures), sums };
}

function playInThread(from: number, end: number): Promise<ClusterTotals> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(bootstrap, { eval: true, workerData: { from, end } });
    worker.on("message", resolve);
    worker.on("error", reject);
  });
}

async function play(from: number, end: number): Promise<ClusterTotals> {
  const failures: string[] = [];
  const sums: Record<string, number> = { seeds: 0 };
  for (let seed = from; seed < end && failures.length < failuresMax; seed += threads) {
    try {
      const { hash: _, ...figures } = await simulateCluster(seed);
      sums["seeds"] = (sums["seeds"] ?? 0) + 1;
      for (const [name, value] of Object.entries(figures)) sums[name] = (sums[name] ?? 0) + value;
    } catch (error) {
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
      failures.push(
        `seed ${seed} fails: ${what}\n  again: npm run sim:cluster -- --seed ${seed} --log`,
      );
    }
  }
  return { failures, sums };
}

if (!isMainThread && parentPort !== null && isRange(workerData)) {
  parentPort.postMessage(await play(workerData.from, workerData.end));
}

function isRange(data: unknown): data is { readonly from: number; readonly end: number } {
  return typeof data === "object" && data !== null && "from" in data && "end" in data;
}
