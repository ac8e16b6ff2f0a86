/**
 * What producers and operators do to single tasks and whole queues: cancel, redrive, purge, pause.
 * Steps are bounded; the shard repeats them until the work is done.
 */
import { present } from "../base/assert.ts";
import { errorCodes } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { runKeyLength, taskIdBytes, taskIdVersion } from "../base/task-id.ts";
import type {
  CancelCommand,
  CancelResult,
  CommandResult,
  PauseCommand,
  PurgeCommand,
  RedriveCommand,
} from "./command.ts";
import { finishRemoval, removeTask } from "./expire.ts";
import { endOfPrefix, prefixes, u32Text } from "./keys.ts";
import type { Need } from "./needs.ts";
import { col, isEnded, isPending, type Run, taskState } from "./run.ts";
import { clearClaimable, type Queue, type State, setClaimable } from "./state.ts";

export function cancelNeeds(state: State, command: CancelCommand): Need[] | null {
  return runNeeds(state, command.key.toString("latin1"), null);
}

function runNeeds(state: State, key: string, needs: Need[] | null): Need[] | null {
  if (state.run(key) || state.isKnownAbsent(key)) return needs;
  const all = needs ?? [];
  all.push({ kind: "run", key });
  return all;
}

export function cancel(state: State, command: CancelCommand): CancelResult {
  const run = state.run(command.key.toString("latin1"));
  const { place } = command;
  const was = run && place < run.count ? run.get(col.STATE, place) : taskState.removed;
  if (!run || was === taskState.removed || run.queue.tenant.name !== command.tenant) {
    return canceled(errorCodes.not_found.number);
  }
  if (was === taskState.canceled) return canceled(0);
  if (isEnded(was)) return canceled(errorCodes.already_settled.number);
  const token = was === taskState.leased ? run.get(col.TOKEN, place) : 0;
  const workerId = run.workerOf(place);
  takeOut(state, run, place);
  run.set(col.STATE, place, taskState.canceled);
  const due = state.retentionEnd(taskState.canceled);
  run.set(col.DUE, place, due);
  run.set(col.UPDATED, place, state.counters.timeMs);
  run.queue.ended++;
  state.paces.addSettled(run.queue.id, 1, state.counters.timeMs);
  state.touch(run);
  state.touchQueue(run.queue);
  state.enterRetention(run, due, 1);
  if (token !== 0) state.events.leaseCanceled(run, place, token, workerId);
  state.events.ended(run);
  return { kind: "canceled", code: 0, leaseToken: token, workerId };
}

function canceled(code: number): CancelResult {
  return { kind: "canceled", code, leaseToken: 0, workerId: "" };
}

/** Takes a live task out of its index and its count; its STATE is removed until the caller sets it. */
function takeOut(state: State, run: Run, place: number): void {
  const was = run.get(col.STATE, place);
  run.set(col.STATE, place, taskState.removed);
  if (was === taskState.ready) {
    const seq = run.get(col.SEQ, place);
    run.set(col.SEQ, place, 0);
    state.leaveReady(run, seq, 1);
  } else if (isPending(was)) {
    if (was === taskState.leased) run.queue.leased--;
    else run.queue.delayed--;
    state.leaveDue(run, run.get(col.DUE, place));
  }
}

export function pause(state: State, command: PauseCommand): CommandResult {
  const found = state.findQueue(command.tenant, command.queue);
  if (!found && state.queues.size >= limits.queuesPerShard) {
    return { kind: "paused", paused: false, code: errorCodes.overloaded.number };
  }
  const queue = found ?? state.addQueue(command.tenant, command.queue);
  if (queue.paused !== command.paused) {
    queue.paused = command.paused;
    state.touchQueue(queue);
    for (let p = 0; p < 10; p++) {
      if ((queue.ready[p] as number) === 0) continue;
      if (queue.paused) clearClaimable(queue, p);
      else setClaimable(queue, p);
    }
    if (!queue.paused && queue.readyTotal > 0) state.events.readyAdded(queue);
  }
  return { kind: "paused", paused: queue.paused, code: 0 };
}

/** The (run, place) pairs of 16-byte ids, those that exist in the queue. */
function* namedTasks(state: State, ids: Buffer, queue: Queue): Iterable<[Run, number]> {
  for (let at = 0; at + taskIdBytes <= ids.length; at += taskIdBytes) {
    const run = state.run(ids.toString("latin1", at, at + runKeyLength(ids, at)));
    const place = taskIdVersion(ids, at) === 8 ? 0 : (ids[at + 14] as number);
    if (run && run.queue === queue && place < run.count) yield [run, place];
  }
}

function namedNeeds(state: State, ids: Buffer): Need[] | null {
  let needs: Need[] | null = null;
  for (let at = 0; at + taskIdBytes <= ids.length; at += taskIdBytes) {
    needs = runNeeds(state, ids.toString("latin1", at, at + runKeyLength(ids, at)), needs);
  }
  return needs;
}

export function redriveNeeds(state: State, command: RedriveCommand): Need[] | null {
  const queue = state.findQueue(command.tenant, command.queue);
  if (!queue) return null;
  if (command.ids.length > 0) return namedNeeds(state, command.ids);
  const { gte, lt } = deadRange(queue);
  if (!state.loadedRanges.has(gte)) {
    const limit = command.limit + removedIn(state, gte, lt);
    return [{ kind: "range", gte, lt, limit }];
  }
  let needs: Need[] | null = null;
  for (const key of deadRuns(state, queue, command.limit)) needs = runNeeds(state, key, needs);
  return needs;
}

function deadRange(queue: Queue): { gte: string; lt: string } {
  const gte = prefixes.dead + u32Text(queue.id);
  return { gte, lt: endOfPrefix(gte) };
}

/** Rows of a range that the store may hold although they are removed: to be read on top. */
function removedIn(state: State, gte: string, lt: string): number {
  let removed = 0;
  state.overlay.forRange(gte, lt, (_, value) => {
    if (value === null) removed++;
  });
  return removed;
}

/** Keys of the first runs of the queue that hold dead tasks, by run key. */
function deadRuns(state: State, queue: Queue, limit: number): string[] {
  const { gte, lt } = deadRange(queue);
  const keys = new Set(state.loadedRanges.get(gte));
  state.overlay.forRange(gte, lt, (key, value) => {
    if (value === null) keys.delete(key);
    else keys.add(key);
  });
  return [...keys]
    .sort()
    .slice(0, limit)
    .map((key) => key.slice(gte.length));
}

export function redrive(state: State, command: RedriveCommand): CommandResult {
  const queue = state.findQueue(command.tenant, command.queue);
  let count = 0;
  if (queue && command.ids.length > 0) {
    for (const [run, place] of namedTasks(state, command.ids, queue)) {
      if (run.get(col.STATE, place) !== taskState.dead) continue;
      redriveTasks(state, run, [place]);
      count++;
    }
  } else if (queue) {
    for (const key of deadRuns(state, queue, command.limit)) {
      const run = present(state.run(key), "the run of a dead row");
      const places: number[] = [];
      for (let i = 0; i < run.count && count + places.length < command.limit; i++) {
        if (run.get(col.STATE, i) === taskState.dead) places.push(i);
      }
      if (places.length > 0) redriveTasks(state, run, places);
      count += places.length;
      if (count >= command.limit) break;
    }
  }
  return { kind: "redriven", count };
}

function redriveTasks(state: State, run: Run, places: readonly number[]): void {
  const seq = state.nextSeq();
  for (const place of places) {
    const due = run.get(col.DUE, place);
    const result = run.get(col.RESULT, place);
    run.set(col.STATE, place, taskState.ready);
    run.set(col.ATTEMPTS, place, 0);
    run.set(col.SEQ, place, seq);
    run.set(col.DUE, place, 0);
    run.set(col.WORKER, place, 0);
    run.set(col.RESULT, place, 0);
    run.set(col.UPDATED, place, state.counters.timeMs);
    state.releaseResult(run, result, place);
    state.leaveRetention(run, due);
  }
  run.queue.dead -= places.length;
  state.touch(run);
  state.leaveDead(run);
  state.addReady(run, seq, places.length);
}

export function purgeNeeds(state: State, command: PurgeCommand): Need[] | null {
  return namedNeeds(state, command.ids);
}

export function purge(state: State, command: PurgeCommand): CommandResult {
  const queue = state.findQueue(command.tenant, command.queue);
  let count = 0;
  if (queue) {
    for (const [run, place] of namedTasks(state, command.ids, queue)) {
      const was = run.get(col.STATE, place);
      if (was === taskState.removed || (command.states & (1 << was)) === 0) continue;
      purgeTask(state, run, place);
      count++;
    }
  }
  return { kind: "purged", count };
}

function purgeTask(state: State, run: Run, place: number): void {
  const was = run.get(col.STATE, place);
  const due = run.get(col.DUE, place);
  if (isEnded(was)) {
    removeTask(state, run, place);
    state.leaveRetention(run, due);
  } else {
    const token = was === taskState.leased ? run.get(col.TOKEN, place) : 0;
    const workerId = run.workerOf(place);
    takeOut(state, run, place);
    // From here it is an ended task that is removed at once.
    run.set(col.STATE, place, taskState.canceled);
    run.queue.ended++;
    removeTask(state, run, place);
    if (token !== 0) state.events.leaseCanceled(run, place, token, workerId);
  }
  state.events.ended(run);
  finishRemoval(state, run);
}
