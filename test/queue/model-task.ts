/** Tasks, runs and queues of the naive model (model.ts), and how they are compared. */
import type { Settings } from "../../src/queue/command.ts";
import { taskState } from "../../src/queue/run.ts";
import { recordsOf, type SettleItem, type TaskSpec } from "./ops.ts";

/** What a task's last settling left: a result, an error, or the mark of a lease that ran out. */
export interface Trace {
  readonly op: "complete" | "fail" | "nack" | "expired";
  readonly result: string | null;
  readonly error: string;
}

export interface ModelTask {
  readonly run: ModelRun;
  readonly place: number;
  readonly max: number;
  readonly size: number;
  state: number;
  attempts: number;
  /** Place in its queue: a stamp per group of tasks that became ready together. */
  order: number;
  due: number;
  token: number;
  worker: string;
  leaseMs: number;
  trace: Trace | null;
  updated: number;
  abandons: number;
}

export interface ModelQueue {
  readonly id: number;
  readonly tenant: string;
  readonly name: string;
  paused: boolean;
}

export interface ModelRun {
  readonly key: string;
  readonly queue: ModelQueue;
  readonly priority: number;
  readonly createdAt: number;
  readonly hash: string | null;
  tasks: ModelTask[];
}

/** Whether the item is the result that the task ended with, given again. */
export function isSameAgain(task: ModelTask, item: SettleItem): boolean {
  if (item.token === 0 || item.token !== task.token) return false;
  if (item.op === "complete") {
    return task.state === taskState.completed && (task.trace?.result ?? null) === item.result;
  }
  if (item.op !== "fail" || task.state !== taskState.failed) return false;
  return task.trace?.result === item.result && task.trace.error === item.error;
}

export function byId(a: ModelTask, b: ModelTask): number {
  if (a.run !== b.run) return a.run.key < b.run.key ? -1 : 1;
  return a.place - b.place;
}

export function byDue(a: ModelTask, b: ModelTask): number {
  return a.due - b.due || (a.run.key < b.run.key ? -1 : 1);
}

/** When the record of a task that ended at `now` goes: a minute or a second full. */
export function retentionEnd(settings: Settings, state: number, now: number): number {
  const { doneRetentionMs, deadRetentionMs } = settings;
  const length = state === taskState.dead ? deadRetentionMs : doneRetentionMs;
  const step = length >= 3_600_000 ? 60_000 : 1_000;
  return Math.ceil((now + length) / step) * step;
}

/** ms that a task waits after so many abandons in a row. */
export function abandonWait(abandons: number): number {
  return abandons <= 10 ? 0 : Math.min(10 * 2 ** (abandons - 11), 60_000);
}

/** A task as it is made, at the time of its run. @param order - its place among the ready ones */
export function newTask(run: ModelRun, place: number, spec: TaskSpec, order: number): ModelTask {
  const now = run.createdAt;
  const at = spec.runAtMs > 0 ? spec.runAtMs : now + spec.delayMs;
  const waits = at > now;
  return {
    run,
    place,
    max: spec.max,
    size: recordsOf([spec]).length,
    state: waits ? taskState.delayed : taskState.ready,
    attempts: 0,
    order: waits ? 0 : order,
    due: waits ? at : 0,
    token: 0,
    worker: "",
    leaseMs: 0,
    trace: null,
    updated: now,
    abandons: 0,
  };
}
