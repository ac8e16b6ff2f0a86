/**
 * expire: what is due at the queue's time happens, in (due, run) order: leases end as a nack with
 * reason LEASE_EXPIRED, delayed tasks become ready; then records whose retention is over go.
 * A step ends before the run that would take it over its limit; the leader logs the next one.
 */
import { assert } from "../base/assert.ts";
import { backoffMs } from "./backoff.ts";
import type { CommandResult, ExpireCommand } from "./command.ts";
import type { DueIndex, DueNode } from "./due-index.ts";
import type { Need } from "./needs.ts";
import { col, isEnded, leaseExpiredResult, type Run, taskState } from "./run.ts";
import type { State } from "./state.ts";

export interface ExpirePlan {
  readonly due: DueNode[];
  readonly retention: DueNode[];
  readonly needs: Need[];
  /** Tasks that the plan touches. */
  tasks: number;
  more: boolean;
}

export function planExpire(state: State, command: ExpireCommand): ExpirePlan {
  const plan: ExpirePlan = { due: [], retention: [], needs: [], tasks: 0, more: false };
  collect(state, plan, state.due, plan.due, command.limit, countAt);
  if (plan.needs.length === 0 && !plan.more) {
    collect(state, plan, state.retention, plan.retention, command.limit, countRetainedAt);
  }
  return plan;
}

function countAt(run: Run, due: number): number {
  return run.countDue(due);
}

function countRetainedAt(run: Run, due: number): number {
  return run.countRetained(due);
}

function collect(
  state: State,
  plan: ExpirePlan,
  index: DueIndex,
  into: DueNode[],
  limit: number,
  count: (run: Run, due: number) => number,
): void {
  const now = state.counters.timeMs;
  let unknown = 0;
  for (let i = 0; plan.tasks + unknown < limit; i++) {
    const node = index.at(i);
    if (!node) {
      if (index.mayHoldBefore(now)) plan.needs.push({ kind: "due", index });
      return;
    }
    if (node.due > now) return;
    const run = state.run(node.runKey);
    if (!run) {
      assert(!state.isKnownAbsent(node.runKey), "a due row leads to a run", node.due);
      plan.needs.push({ kind: "run", key: node.runKey });
      unknown++;
      continue;
    }
    const tasks = count(run, node.due);
    if (plan.tasks > 0 && plan.tasks + tasks > limit) break;
    plan.tasks += tasks;
    into.push(node);
  }
  plan.more = true;
}

export function expire(state: State, plan: ExpirePlan): CommandResult {
  for (const node of plan.due) {
    expireRun(state, state.run(node.runKey) as Run, node.due);
  }
  for (const node of plan.retention) {
    removeEnded(state, state.run(node.runKey) as Run, node.due);
  }
  return { kind: "expired", count: plan.tasks, more: plan.more };
}

function expireRun(state: State, run: Run, due: number): void {
  let readySeq = 0;
  let ready = 0;
  let died = 0;
  for (let i = 0; i < run.count; i++) {
    if (run.get(col.DUE, i) !== due) continue;
    const current = run.get(col.STATE, i);
    if (current === taskState.delayed) {
      run.queue.delayed--;
    } else if (current === taskState.leased) {
      run.queue.leased--;
      const fate = expireLease(state, run, i);
      if (fate === "dead") died++;
      if (fate !== "ready") continue;
    } else {
      continue;
    }
    if (readySeq === 0) readySeq = state.nextSeq();
    run.set(col.STATE, i, taskState.ready);
    run.set(col.SEQ, i, readySeq);
    run.set(col.DUE, i, 0);
    run.set(col.UPDATED, i, state.counters.timeMs);
    ready++;
  }
  state.touch(run);
  state.touchQueue(run.queue);
  state.leaveDue(run, due);
  if (ready > 0) state.addReady(run, readySeq, ready);
  if (died > 0) {
    run.queue.dead += died;
    state.paces.addSettled(run.queue.id, died, state.counters.timeMs);
    state.enterRetention(run, state.retentionEnd(taskState.dead), died);
    state.enterDead(run, died);
    state.events.ended(run);
  }
}

/** @returns what becomes of the task; its columns are set unless it is ready at once */
function expireLease(state: State, run: Run, place: number): "ready" | "delayed" | "dead" {
  const now = state.counters.timeMs;
  const before = run.get(col.RESULT, place);
  run.set(col.RESULT, place, leaseExpiredResult);
  state.releaseResult(run, before, place);
  run.set(col.UPDATED, place, now);
  run.set(col.ABANDONS, place, 0);
  const attempts = run.get(col.ATTEMPTS, place);
  if (attempts >= run.get(col.MAX_ATTEMPTS, place)) {
    run.set(col.STATE, place, taskState.dead);
    run.set(col.DUE, place, state.retentionEnd(taskState.dead));
    return "dead";
  }
  run.set(col.WORKER, place, 0);
  const delay = backoffMs(state.settings, run.key, place, attempts);
  if (delay === 0) return "ready";
  run.set(col.STATE, place, taskState.delayed);
  run.set(col.DUE, place, now + delay);
  run.queue.delayed++;
  state.enterDue(run, now + delay, 1);
  return "delayed";
}

/** Removes the ended tasks of a run whose retention ends at `due`. */
function removeEnded(state: State, run: Run, due: number): void {
  for (let i = 0; i < run.count; i++) {
    if (run.get(col.DUE, i) === due && isEnded(run.get(col.STATE, i))) removeTask(state, run, i);
  }
  state.leaveRetention(run, due);
  finishRemoval(state, run);
}

/** Takes an ended task's record away; the caller looks after its retention row. */
export function removeTask(state: State, run: Run, place: number): void {
  const was = run.get(col.STATE, place);
  const result = run.get(col.RESULT, place);
  if (was === taskState.dead) run.queue.dead--;
  else run.queue.ended--;
  run.live--;
  for (let c = 0; c < run.columns.length / run.count; c++) run.set(c, place, 0);
  state.releaseResult(run, result, place);
  if (was === taskState.dead) state.leaveDead(run);
}

/** After removals: drops the run if nothing of it is left. */
export function finishRemoval(state: State, run: Run): void {
  state.touchQueue(run.queue);
  if (run.live === 0) state.dropRun(run);
  else state.touch(run);
}
