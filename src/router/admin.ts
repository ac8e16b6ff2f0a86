/**
 * The admin port: lists, queues and the cluster as an edge may ask for them. Everything is scoped
 * by tenant, but for the two looks at the cluster. Each call spans all shards; answers are merged.
 */
import type { TaskState, TaskView } from "./router.ts";

export interface ListQuery {
  readonly state: TaskState | null;
  readonly queue: string | null;
  /** 1..limits.listPage */
  readonly limit: number;
  /** Position that the page before gave; null = the start. */
  readonly after: Buffer | null;
}

export interface TaskPage {
  /** By id. May be fewer than asked for, or none, and there are still more. */
  readonly tasks: readonly TaskView[];
  /** Position to go on from, 16 bytes; null = this is the last page. */
  readonly next: Buffer | null;
}

/** One queue over all shards. */
export interface QueueView {
  readonly queue: string;
  readonly ready: number;
  readonly delayed: number;
  readonly leased: number;
  readonly dead: number;
  readonly paused: boolean;
  /** 0 if no task is ready. */
  readonly oldestReadyAgeMs: number;
  readonly createdPerSecond: number;
  readonly settledPerSecond: number;
}

export interface QueuePage {
  /** By name. */
  readonly queues: readonly QueueView[];
  /** Name to go on behind; null = this is the last page. */
  readonly next: string | null;
}

/** Which tasks an action concerns. */
export interface TaskChoice {
  /** 16 bytes each; null = all of the queue. */
  readonly ids: readonly Buffer[] | null;
  readonly limit: number;
  /** Stops between two steps once nobody waits for the answer. */
  readonly signal: AbortSignal;
}

export interface PurgeChoice extends TaskChoice {
  /** null = every state. */
  readonly states: readonly TaskState[] | null;
}

export interface RaftGroup {
  readonly shard: number;
  readonly isLeader: boolean;
  readonly selfId: string;
  /** "" = none is known. */
  readonly leaderId: string;
  readonly leaderHttp: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly voters: readonly string[];
  readonly learners: readonly string[];
  /** On the leader: what it knows of the others. */
  readonly followers: readonly {
    readonly id: string;
    readonly matchIndex: number;
    readonly lastContactMs: number;
  }[];
}

export interface RaftStatus {
  readonly enabled: boolean;
  readonly groups: readonly RaftGroup[];
}

export interface ClusterNode {
  readonly id: string;
  readonly isLeader: boolean;
  /** host:port of the node-to-node listener; "" = it has none. */
  readonly address: string;
  readonly http: string;
  readonly grpc: string;
  readonly reachable: boolean;
  readonly lastContactMs: number;
  readonly version: string;
  readonly shardsLed: readonly number[];
}

export interface ClusterNodes {
  readonly nodes: readonly ClusterNode[];
  /** The node that leads shard 0; "" = none is known. */
  readonly leader: string;
}

/** Rejections are QueueErrors: no_leader, overloaded, insufficient_storage, unknown_outcome. */
export interface Admin {
  list(tenant: string, query: ListQuery): Promise<TaskPage>;
  /** @param page - names behind `after`, limit 1..limits.listPage */
  queues(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<QueuePage>;
  /** One that nobody used has zeros. */
  queue(tenant: string, queue: string): Promise<QueueView>;
  /** Dead tasks back to ready. @returns how many */
  redrive(tenant: string, queue: string, choice: TaskChoice): Promise<number>;
  /** Removes tasks with their records. @returns how many */
  purge(tenant: string, queue: string, choice: PurgeChoice): Promise<number>;
  /** @returns whether it is paused now. @throws QueueError overloaded: too many queues */
  pause(tenant: string, queue: string, paused: boolean): Promise<boolean>;
  /** Removes ended tasks whose retention ends before a time. @returns how many */
  cleanup(
    tenant: string,
    choice: { readonly beforeMs: number; readonly limit: number; readonly signal: AbortSignal },
  ): Promise<number>;
  raftStatus(): RaftStatus;
  clusterNodes(): ClusterNodes;
}
