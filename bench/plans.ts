/** How the load is shaped; each number was tried (README, "Knobs"). */
import type { HttpPlan, Period, StreamPlan, Target } from "./load/protocol.ts";

export const queue = "bench";

/** Payload bytes of unfinished tasks: larger payloads get a shorter backlog. */
const aheadBytes = 64 * 1024 * 1024;

/** How long a throughput is measured. */
export function periodOf(isQuick: boolean): Period {
  return isQuick ? { warmupMs: 3_000, measureMs: 10_000 } : { warmupMs: 10_000, measureMs: 60_000 };
}

export interface Shape extends Period {
  readonly payloadBytes: number;
  readonly existing?: number;
}

/** Frames of 128 tasks. */
export function batchPlan(target: Target, shape: Shape): StreamPlan {
  return {
    kind: "streams",
    target,
    queue,
    batch: 128,
    producers: 4,
    window: 8,
    workers: 4,
    readys: 4,
    readyCount: 128,
    aheadMax: Math.min(20_000, Math.floor(aheadBytes / shape.payloadBytes)),
    existing: 0,
    drain: true,
    ...shape,
  };
}

/** One task per message: 32 producers, 128 worker slots. */
export function singlePlan(target: Target, shape: Shape): StreamPlan {
  return {
    ...batchPlan(target, shape),
    batch: 1,
    producers: 32,
    window: 4,
    workers: 2,
    readys: 64,
    readyCount: 1,
    aheadMax: 2_000,
  };
}

/** @param urls - nodes that are asked first */
export function httpPlan(target: Target, shape: Shape, urls: readonly string[]): HttpPlan {
  const { payloadBytes, warmupMs, measureMs } = shape;
  return { kind: "http", target, urls, queue, clients: 32, payloadBytes, warmupMs, measureMs };
}
