/** What a scenario hands over: figures for the file, one line for people, and bars. */
import type { LoadOutcome } from "./load-process.ts";
import { metricSum } from "./measure/exposition.ts";
import type { LatencySummary } from "./measure/histogram.ts";
import type { NodeProcess } from "./node-process.ts";

/** Full cycles over a time. */
export interface Throughput {
  readonly cyclesPerSecond: number;
  /** Mean of the slowest five seconds in a row, as a share of the mean of all. */
  readonly slowest5sShare: number;
  readonly perSecond: readonly number[];
  readonly createAck: LatencySummary;
  readonly endToEnd: LatencySummary;
  /** Microseconds of CPU per cycle. */
  readonly serverCpuUs: number;
  readonly loadCpuUs: number;
  /** Bytes: anonymous + shared, and mapped files beside it. */
  readonly rssMax: number;
  readonly mappedMax: number;
}

/** A promise of the project about a figure. */
export interface Bar {
  readonly what: string;
  readonly value: number;
  readonly limit: number;
  readonly direction: "at least" | "at most";
  readonly unit: string;
}

export interface Measurement {
  readonly scenario: string;
  /** What was measured, with sizes. */
  readonly label: string;
  /** When an acknowledged task is safe, in the server's own words. */
  readonly durability: string;
  readonly throughput?: Throughput;
  readonly figures: Readonly<Record<string, number>>;
  readonly bars: readonly Bar[];
  /** What was lost, done twice or counted differently; empty if the run is good. */
  readonly problems: readonly string[];
  /** How the load was shaped. */
  readonly configuration: Readonly<Record<string, unknown>>;
}

const slowestSeconds = 5;

export function holds({ value, limit, direction }: Bar): boolean {
  return direction === "at least" ? value >= limit : value <= limit;
}

export function throughputOf(outcome: LoadOutcome): Throughput {
  const { cyclesPerSecond: perSecond, server, load } = outcome;
  const cyclesPerSecond = mean(perSecond);
  const cycles = (cyclesPerSecond * outcome.elapsedMs) / 1000;
  return {
    cyclesPerSecond,
    slowest5sShare: slowestMean(perSecond, slowestSeconds) / cyclesPerSecond,
    perSecond,
    createAck: outcome.createAck,
    endToEnd: outcome.endToEnd,
    serverCpuUs: (server.cpuMs * 1000) / cycles,
    loadCpuUs: (load.cpuMs * 1000) / cycles,
    rssMax: server.rssMax,
    mappedMax: server.mappedMax,
  };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** The lowest mean of `length` values in a row. */
export function slowestMean(values: readonly number[], length: number): number {
  let lowest = mean(values);
  for (let i = 0; i + length <= values.length; i++) {
    lowest = Math.min(lowest, mean(values.slice(i, i + length)));
  }
  return lowest;
}

/** Highest delay of the event loop, p99, since the node started; ms. */
export async function loopDelayP99Ms(node: NodeProcess): Promise<number> {
  const metrics = await node.get("/metrics");
  return metricSum(metrics, "quorumq_event_loop_delay_seconds", { stat: "p99" }) * 1000;
}
