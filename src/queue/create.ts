/** create: new tasks of one run, ready or delayed; a repeated request gets its first answer. */
import { assert } from "../base/assert.ts";
import { errorCodes } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { CreateCommand, CreateResult } from "./command.ts";
import { prefixes } from "./keys.ts";
import type { Need } from "./needs.ts";
import { col, Run, taskState } from "./run.ts";
import type { State } from "./state.ts";
import { RecordCursor } from "./task-record.ts";

/** Records up to this size live in the row of a lone task, so that it costs one row. */
const inlineBytesMax = 1024;

/**
 * Looks for the run of a server's own id too, though it is new: whoever saw an id of this server can
 * guess its next ones and make a run with one of them first. Once per command: about 3 µs.
 * @param key - of the command, as a latin1 string
 */
export function createNeeds(state: State, key: string): Need[] | null {
  if (state.run(key) || state.isKnownAbsent(key)) return null;
  return [{ kind: "run", key }];
}

/** @param key - of the command, as a latin1 string */
export function create(state: State, command: CreateCommand, key: string): CreateResult {
  const existing = state.run(key);
  if (existing && command.requestHash !== null) return repeated(existing, command);
  // A server's id that a client took before: made again, the create gets another.
  if (existing) return refused(state, errorCodes.overloaded.number);
  const found = state.findQueue(command.tenant, command.queue);
  if (!found && state.queues.size >= limits.queuesPerShard) {
    return refused(state, errorCodes.overloaded.number);
  }
  const queue = found ?? state.addQueue(command.tenant, command.queue);
  const inline = command.count === 1 && command.records.length <= inlineBytesMax;
  const run = new Run({
    key,
    count: command.count,
    queue,
    priority: command.priority,
    createdAt: state.counters.timeMs,
    requestHash: command.requestHash ? state.kept.copy(command.requestHash) : null,
    columns: state.columns.allocate(command.count),
    inlineRecords: inline ? state.kept.copy(command.records) : null,
    recordBytes: command.records.length,
  });
  const runAt = fillColumns(state, run, command.records);
  state.addRun(run);
  state.touch(run);
  if (!inline) state.overlay.put(prefixes.payload + key, command.records);
  state.paces.addCreated(queue.id, run.count, state.counters.timeMs);
  state.touchQueue(queue);
  enqueue(state, run, runAt);
  return { kind: "created", code: 0, duplicate: false, createdAt: run.createdAt, runAt };
}

/** Reads the records into the columns. @returns the delayed tasks' times, or null */
function fillColumns(state: State, run: Run, records: Buffer): Float64Array | null {
  const { count, columns } = run;
  const now = state.counters.timeMs;
  const cursor = new RecordCursor(records);
  let runAt: Float64Array | null = null;
  for (let i = 0; i < count; i++) {
    cursor.next();
    const due = cursor.runAtMs > 0 ? cursor.runAtMs : now + cursor.delayMs;
    if (due > now) {
      runAt ??= new Float64Array(count);
      runAt[i] = due;
    }
    columns[col.STATE * count + i] = due > now ? taskState.delayed : taskState.ready;
    columns[col.MAX_ATTEMPTS * count + i] = cursor.maxAttempts;
    columns[col.SIZE * count + i] = cursor.size;
    columns[col.UPDATED * count + i] = now;
  }
  assert(cursor.at === records.length, "records fill the command", cursor.at, records.length);
  return runAt;
}

function enqueue(state: State, run: Run, runAt: Float64Array | null): void {
  let ready = run.count;
  if (runAt) {
    for (let i = 0; i < run.count; i++) {
      const due = runAt[i] as number;
      if (due === 0) continue;
      run.set(col.DUE, i, due);
      ready--;
      run.queue.delayed++;
      state.enterDue(run, due, 1);
    }
  }
  if (ready === 0) return;
  const seq = state.nextSeq();
  for (let i = 0; i < run.count; i++) {
    if (run.columns[i] === taskState.ready) run.set(col.SEQ, i, seq);
  }
  state.addReady(run, seq, ready);
}

function repeated(run: Run, command: CreateCommand): CreateResult {
  const same =
    command.requestHash !== null &&
    run.requestHash?.equals(command.requestHash) === true &&
    run.queue.tenant.name === command.tenant &&
    run.count === command.count &&
    run.live === run.count;
  return {
    kind: "created",
    code: same ? 0 : errorCodes.idempotency_conflict.number,
    duplicate: same,
    createdAt: run.createdAt,
    runAt: null,
  };
}

function refused(state: State, code: number): CreateResult {
  const createdAt = state.counters.timeMs;
  return { kind: "created", code, duplicate: false, createdAt, runAt: null };
}
