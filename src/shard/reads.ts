/** Reads of single tasks from the applied state of a shard. */
import { type TaskState, taskStates } from "../base/task-state.ts";
import { keyBytes, prefixes } from "../queue/keys.ts";
import { col, leaseExpiredResult, type Run } from "../queue/run.ts";
import { decodeRun } from "../queue/run-codec.ts";
import { readResultRow } from "../queue/settle-groups.ts";
import { resultKey } from "../queue/state.ts";
import { RecordCursor } from "../queue/task-record.ts";
import { publicExtras, type TaskExtras } from "./grants.ts";
import type { Shard } from "./shard.ts";

/** How a task ended. */
export interface ResultView {
  readonly status: "COMPLETED" | "FAILED";
  readonly result: Buffer | null;
  readonly error: string;
  readonly completedAtMs: number;
}

/** One task as it was at one applied index. Absent texts are "", absent numbers 0. */
export interface TaskRead {
  readonly tenant: string;
  readonly queue: string;
  readonly priority: number;
  readonly state: TaskState;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly payload: Buffer;
  readonly workerId: string;
  readonly leaseToken: number;
  readonly leaseUntilMs: number;
  readonly runAtMs: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly error: string;
  readonly extras: TaskExtras | null;
  readonly result: ResultView | null;
}

/** Names by the values of the STATE column. */
const stateNames: readonly (TaskState | null)[] = [null, ...taskStates];

/** Reads again when a row that the columns named was replaced meanwhile; once is usual. */
const readTries = 5;

/**
 * Reads one task. The columns are looked at in one turn; payload and result rows are read after it
 * and never change, but may be gone by then: then the columns tell anew.
 * @returns null if there is no such task of that tenant
 */
export async function readTask(
  shard: Shard,
  tenant: string,
  runKey: string,
  place: number,
): Promise<TaskRead | null> {
  for (let i = 0; i < readTries; i++) {
    const run = findRun(shard, runKey);
    if (!run || place >= run.count || run.queue.tenant.name !== tenant) return null;
    const head = headOf(run, place);
    if (!head) return null;
    const reference = run.get(col.RESULT, place);
    const records = shard.records.inMemory(run) ?? (await shard.records.read(runKey));
    const outcome = await readOutcome(shard, reference);
    if (records && outcome) return completeRead(head, records, place, outcome);
  }
  return null;
}

/** Puts together what was read of one task. */
export function completeRead(
  head: Head,
  records: Buffer,
  place: number,
  outcome: Outcome,
): TaskRead {
  const cursor = new RecordCursor(records);
  for (let i = 0; i <= place; i++) cursor.next();
  const extras = cursor.extras();
  const error = outcome.error || (head.state === "canceled" ? "CANCELED" : "");
  const ended =
    head.state === "completed" ||
    head.state === "failed" ||
    head.state === "dead" ||
    head.state === "canceled";
  return {
    ...head,
    payload: records.subarray(cursor.payloadFrom, cursor.payloadTo),
    error,
    extras: extras && publicExtras(extras),
    result: ended
      ? {
          status: head.state === "completed" ? "COMPLETED" : "FAILED",
          result: outcome.result,
          error,
          completedAtMs: head.updatedAtMs,
        }
      : null,
  };
}

export interface Outcome {
  readonly result: Buffer | null;
  readonly error: string;
}

export type Head = Omit<TaskRead, "payload" | "error" | "extras" | "result">;

/** What the columns tell of a task; null if it was removed. */
export function headOf(run: Run, place: number): Head | null {
  const state = stateNames[run.get(col.STATE, place)];
  if (!state) return null;
  const leased = state === "leased";
  return {
    tenant: run.queue.tenant.name,
    queue: run.queue.name,
    priority: run.priority,
    state,
    attempts: run.get(col.ATTEMPTS, place),
    maxAttempts: run.get(col.MAX_ATTEMPTS, place),
    workerId: run.workerOf(place),
    leaseToken: leased ? run.get(col.TOKEN, place) : 0,
    leaseUntilMs: leased ? run.get(col.DUE, place) : 0,
    runAtMs: state === "delayed" ? run.get(col.DUE, place) : 0,
    createdAtMs: run.createdAt,
    updatedAtMs: run.get(col.UPDATED, place),
  };
}

/** From memory, or decoded from the store for this read alone: reads do not fill the cache. */
export function findRun(shard: Shard, runKey: string): Run | null {
  const { state } = shard;
  const loaded = state.run(runKey);
  if (loaded) return loaded;
  if (state.overlay.get(prefixes.run + runKey) === null) return null;
  const row = shard.kv.getSync(keyBytes(prefixes.run + runKey));
  return row ? decodeRun(runKey, row, (id) => state.queues.get(id)) : null;
}

/** How it ended, or went wrong last; null if that row was replaced meanwhile. */
export async function readOutcome(shard: Shard, reference: number): Promise<Outcome | null> {
  if (reference === 0) return { result: null, error: "" };
  if (reference === leaseExpiredResult) return { result: null, error: "LEASE_EXPIRED" };
  const key = resultKey(Math.floor(reference / 256));
  const unsaved = shard.state.overlay.get(key);
  const row = unsaved ?? (await shard.kv.get(keyBytes(key)));
  if (!row) return null;
  const buffer = Buffer.from(row.buffer, row.byteOffset, row.length);
  const { result, error } = readResultRow(buffer, reference % 256);
  return { result, error: error?.toString() ?? "" };
}

/** Bit s set for each state with the value s; null = all that a task can be in. */
export function maskOf(states: readonly TaskState[] | null): number {
  let mask = 0;
  for (const [value, name] of stateNames.entries()) {
    if (name !== null && (states === null || states.includes(name))) mask |= 1 << value;
  }
  return mask;
}
