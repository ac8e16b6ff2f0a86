/** What producers and workers tell of themselves while they work. */
import type { WireNode } from "../api/proto-events.ts";
import type { QuorumQError } from "./errors.ts";
import type { AnyTasks } from "./task-map.ts";
import type { WorkerTask } from "./worker-task.ts";

/** A node of the cluster, as it tells its clients. */
export type ClusterMember = WireNode;

/** Events of every connection, by name. */
export interface ConnectionEvents {
  /** A connection is up: the first one, and one after each loss. */
  connected: { readonly nodeId: string };
  /** The connection is gone; another one is on its way. */
  disconnected: { readonly error: QuorumQError };
  /** Which nodes there are and what they lead: with each connection, and when it changes. */
  cluster: { readonly nodes: readonly ClusterMember[] };
}

export interface TaskEvent<Tasks extends object = AnyTasks> {
  readonly task: WorkerTask<Tasks>;
}

export interface EndEvent<Tasks extends object = AnyTasks> extends TaskEvent<Tasks> {
  /** Ms from the handler's start until the server has acknowledged the task's end. */
  readonly durationMs: number;
}

/** Events of a worker, by name. Those of a task's end come when the server has acknowledged it. */
export interface WorkerEvents<Tasks extends object = AnyTasks> extends ConnectionEvents {
  /** The task came; its handler may have to wait for a free place. */
  claimed: TaskEvent<Tasks>;
  /** Its handler begins. */
  started: TaskEvent<Tasks>;
  /** Done. */
  completed: EndEvent<Tasks> & {
    /** What the handler returned. */
    readonly result: unknown;
  };
  /** Failed for good, by `FailTask`. */
  failed: EndEvent<Tasks> & {
    /** What the handler threw. */
    readonly error: unknown;
  };
  /** The attempt failed; the task is tried again. */
  retried: EndEvent<Tasks> & {
    readonly error: unknown;
    /** Ms until it is ready again. */
    readonly delayMs: number;
  };
  /** The last attempt failed: the task is a dead letter. */
  dead: EndEvent<Tasks> & { readonly error: unknown };
  /** Handed back unharmed, by `stop`. */
  abandoned: TaskEvent<Tasks>;
  /** Not this worker's any more: its lease is over, or its end was refused. */
  lost: TaskEvent<Tasks> & { readonly error: QuorumQError };
  /** Canceled by a producer. */
  canceled: TaskEvent<Tasks>;
  /** Nothing is held, and nothing has come for 0.1 s: once per such time. */
  drained: Record<never, never>;
  /** What goes wrong beside the handlers: lost connections, and ends of tasks that were refused. */
  error: { readonly error: QuorumQError; readonly taskId: string | undefined };
  /** `stop` is done. */
  stopped: Record<never, never>;
}
