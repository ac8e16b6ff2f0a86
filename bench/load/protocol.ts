/** What the bench and its load process say to each other, over the IPC channel of fork. */
import type { LatencySummary } from "../measure/histogram.ts";
import type { LedgerCounts } from "./ledger.ts";

/** How the load reaches a node, or several. */
export interface Target {
  /** host:port, or several of them with commas */
  readonly grpc: string;
  /** http://host:port */
  readonly http: string;
  /** For producers and workers alike, so that an HTTP client needs one connection. */
  readonly token: string;
}

/** How long a load runs. */
export interface Period {
  readonly warmupMs: number;
  readonly measureMs: number;
}

/** Full cycles over gRPC streams. */
export interface StreamPlan extends Period {
  readonly kind: "streams";
  /** Length of a lease; absent = the server's default. */
  readonly leaseSeconds?: number;
  readonly target: Target;
  readonly queue: string;
  readonly payloadBytes: number;
  /** Tasks per create frame. */
  readonly batch: number;
  /** Producer streams, and frames that each has in flight. */
  readonly producers: number;
  readonly window: number;
  /** Worker streams, Readys that each has waiting, and tasks that a Ready asks for. */
  readonly workers: number;
  readonly readys: number;
  readonly readyCount: number;
  /** Creates sent whose result is not acknowledged: beyond, producers wait. */
  readonly aheadMax: number;
  /** Ready tasks of an earlier run, numbered from 0 on. */
  readonly existing: number;
  /** gRPC addresses that the streams begin with, in turn; absent = the target's. */
  readonly spread?: readonly string[];
  /** How many shards there are, for `LoadResult.perShard`; absent = nobody counts. */
  readonly shards?: number;
  /** Whether everything is drained at the end, `existing` too. */
  readonly drain: boolean;
}

/** Full cycles over HTTP, one request after the other on each connection. */
export interface HttpPlan extends Period {
  readonly kind: "http";
  /** Base URLs that the clients ask first, in turn; redirects are followed for each request anew. */
  readonly urls: readonly string[];
  readonly target: Target;
  readonly queue: string;
  readonly payloadBytes: number;
  readonly clients: number;
}

/** Creates tasks and nothing else. */
export interface FillPlan {
  readonly kind: "fill";
  readonly target: Target;
  readonly queue: string;
  readonly payloadBytes: number;
  readonly tasks: number;
}

/** One task at a time, and a worker that waits for it. */
export interface LatencyPlan {
  readonly kind: "latency";
  readonly target: Target;
  readonly queue: string;
  readonly repetitions: number;
}

/** Workers that wait and get nothing. */
export interface WaitPlan {
  readonly kind: "wait";
  readonly target: Target;
  readonly queue: string;
  readonly workers: number;
  readonly measureMs: number;
}

/**
 * How the NATS client is used.
 * - `api`: `js.publish`, a batch of them awaited together; acks of consumers are only sent
 * - `awaited`: the same, and every ack of a consumer is awaited (`ackAck`)
 * - `counted`: plain publishes with a reply subject of our own, whose acks are counted without a
 *   Promise per message; acks of consumers are only sent
 */
export type NatsMode = "api" | "awaited" | "counted";

/** The same work on a NATS JetStream work queue that is there. */
export interface NatsPlan extends Period {
  readonly kind: "nats";
  /** host:port, of the stream's leader */
  readonly server: string;
  readonly stream: string;
  readonly subject: string;
  /** Name of the durable consumer. */
  readonly consumer: string;
  readonly payloadBytes: number;
  readonly batch: number;
  /** Batches of publishes whose acks are awaited, at the same time. */
  readonly window: number;
  /** Messages that a pull consumer has on order. */
  readonly pullMessages: number;
  readonly aheadMax: number;
  readonly mode: NatsMode;
}

/** The same work on BullMQ, whose queue is made by using it. */
export interface BullmqPlan extends Period {
  readonly kind: "bullmq";
  /** Of Redis, on loopback. */
  readonly port: number;
  readonly payloadBytes: number;
  /** Jobs per `addBulk`, and calls whose answers are awaited at the same time. */
  readonly batch: number;
  readonly window: number;
  /** Workers, each with a connection of its own, and jobs that each works on at the same time. */
  readonly workers: number;
  readonly concurrency: number;
  readonly aheadMax: number;
}

/** The same work on a RabbitMQ queue that is there. */
export interface RabbitmqPlan extends Period {
  readonly kind: "rabbitmq";
  readonly url: string;
  readonly queue: string;
  readonly payloadBytes: number;
  /** Messages whose confirms are awaited. */
  readonly window: number;
  /** Messages that the consumer may hold without an ack. */
  readonly prefetch: number;
  readonly aheadMax: number;
}

export type LoadPlan =
  | StreamPlan
  | HttpPlan
  | FillPlan
  | LatencyPlan
  | WaitPlan
  | NatsPlan
  | BullmqPlan
  | RabbitmqPlan;

export interface Sample {
  /** Id and number of a task, to look it up at the node. */
  readonly id: string;
  readonly task: number;
}

export interface LoadResult {
  /** Cycles in each second measured. */
  readonly cyclesPerSecond: readonly number[];
  readonly createAck: LatencySummary;
  /** Create sent to result acknowledged; for `latency`: create sent to task delivered. */
  readonly endToEnd: LatencySummary;
  /** All of the run, warm-up and drain included. */
  readonly counts: LedgerCounts;
  /** Numbers of some tasks that were created and not completed, after the drain. */
  readonly unfinished: readonly number[];
  readonly samples: readonly Sample[];
  /** Tasks created in each shard, if that was asked for. */
  readonly perShard: readonly number[];
  /** Acks that were not ok; the first few reasons. */
  readonly refusals: readonly Refusal[];
}

export interface Refusal {
  readonly reason: string;
  readonly times: number;
}

/** Told to a load process after its plan: the period measured ends now. */
export const stopWord = "stop";

/** What the load process says. */
export type LoadEvent =
  /** The period measured begins, or ends; a plan without warm-up begins at once. */
  | { readonly kind: "measuring" }
  | { readonly kind: "measured" }
  | { readonly kind: "done"; readonly result: LoadResult }
  | { readonly kind: "failed"; readonly reason: string };
