/** The shard's state against the naive model's, task by task, and against its own rows (Q11, Q12). */
import { checkInvariants, exportRows } from "../../../src/queue/invariants.ts";
import { keyBytes, prefixes } from "../../../src/queue/keys.ts";
import { col, type Run, taskState } from "../../../src/queue/run.ts";
import { decodeRun } from "../../../src/queue/run-codec.ts";
import type { State } from "../../../src/queue/state.ts";
import { readRecord } from "../../../src/storage/record.ts";
import type { Model, ModelTask } from "../../queue/model.ts";
import type { SortedRows } from "../sorted-rows.ts";
import { must } from "../violation.ts";

const names = Object.keys(taskState);

/** @param stored - the rows of the shard's store as its readers see them now */
export function checkState(model: Model, state: State, stored: SortedRows): void {
  const rows = exportRows(state, valuesOf(stored));
  checkInvariants(state, rows);
  must(state.counters.timeMs === model.now, "queue time", state.counters.timeMs, model.now);
  const runs = new Map<string, Run>();
  for (const [key, value] of rows) {
    if (!key.startsWith(prefixes.run)) continue;
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
    runs.set(
      key.slice(1),
      decodeRun(key.slice(1), bytes, (id) => state.queues.get(id)),
    );
  }
  must(runs.size === model.runs.size, "runs", runs.size, model.runs.size);
  for (const run of model.runs.values()) {
    const found = runs.get(run.key);
    must(found !== undefined, "a run is kept", Buffer.from(run.key, "latin1").toString("hex"));
    must(found.queue.name === run.queue.name, "queue of a run", found.queue.name, run.queue.name);
    must(found.priority === run.priority, "priority of a run", found.priority, run.priority);
    must(found.createdAt === run.createdAt, "time of a run", found.createdAt, run.createdAt);
    for (const task of run.tasks) checkTask(task, found);
  }
}

function checkTask(task: ModelTask, run: Run): void {
  const { place } = task;
  if (task.state === taskState.removed) {
    must(run.get(col.STATE, place) === taskState.removed, "a removed task stays away", place);
    return;
  }
  const got = [
    names[run.get(col.STATE, place)],
    run.get(col.ATTEMPTS, place),
    run.get(col.MAX_ATTEMPTS, place),
    run.get(col.DUE, place),
    run.get(col.TOKEN, place),
    run.workerOf(place),
    run.get(col.UPDATED, place),
  ].join(" ");
  const { attempts, max, due, token, worker, updated } = task;
  const want = [names[task.state], attempts, max, due, token, worker, updated].join(" ");
  must(got === want, "a task as the log made it", got, want);
}

/** Keys and values of a store, without what guards them. */
export function* valuesOf(stored: SortedRows): Iterable<[string, Uint8Array]> {
  for (let i = 0; i < stored.size; i++) {
    const key = stored.keyAt(i);
    yield [key, readRecord(keyBytes(key), stored.get(key) as Buffer)];
  }
}
