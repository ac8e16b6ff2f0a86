/**
 * claim: which tasks a worker gets. Highest priority first; within it the queues named take turns,
 * going on behind the one that was served last; within a queue first in, first out.
 *
 * The plan is made first, from what is in memory, and changes nothing; if something is missing it
 * says what. Only a whole plan is carried out.
 */
import { assert } from "../base/assert.ts";
import type { ClaimCommand, ClaimedTasks, ClaimResult } from "./command.ts";
import type { Need } from "./needs.ts";
import type { ReadyList, Segment } from "./ready-list.ts";
import { col, type Run, taskState } from "./run.ts";
import { positionOf, type Queue, type State, type Tenant } from "./state.ts";

/** Bytes that a task adds to an encoded answer beside its record and its queue's name, at most. */
const answerOverheadBytes = 420;

/** Runs asked for at once when one is missing. */
const readAheadRuns = 32;

interface Pick {
  readonly segment: Segment;
  readonly run: Run;
  readonly places: number[];
}

export interface ClaimPlan {
  readonly command: ClaimCommand;
  readonly picks: Pick[];
  readonly needs: Need[];
  left: number;
  bytes: number;
  /** The byte limit is reached. */
  full: boolean;
  /** Queue served last. */
  last: Queue | null;
}

export function planClaim(state: State, command: ClaimCommand): ClaimPlan {
  const plan: ClaimPlan = {
    command,
    picks: [],
    needs: [],
    left: command.count,
    bytes: 0,
    full: false,
    last: null,
  };
  const tenant = state.tenants.get(command.tenant);
  if (!tenant) return plan;
  for (let priority = 9; priority >= 0 && plan.left > 0 && !plan.full; priority--) {
    const queues = candidates(tenant, command, priority);
    if (queues.length > 0) takeInTurn(state, plan, queues, priority);
    if (plan.needs.length > 0) return plan;
  }
  return plan;
}

/** The queues to take from, in the order of their turns: by id, from behind the cursor. */
function candidates(tenant: Tenant, command: ClaimCommand, priority: number): Queue[] {
  const { queues } = command;
  if (queues === null) {
    return rotated(tenant.claimable[priority] as Queue[], tenant.cursor, command.count);
  }
  const found: Queue[] = [];
  for (const name of queues) {
    const queue = tenant.queues.get(name);
    if (queue && !queue.paused && (queue.ready[priority] as number) > 0) found.push(queue);
  }
  if (found.length < 2) return found;
  found.sort((a, b) => a.id - b.id);
  const distinct = found.filter((queue, i) => queue !== found[i - 1]);
  return rotated(distinct, tenant.cursor, command.count);
}

function rotated(queues: readonly Queue[], cursor: number, most: number): Queue[] {
  const start = positionOf(queues, cursor + 1);
  const behind = queues.slice(start, start + most);
  return behind.length < most ? behind.concat(queues.slice(0, Math.min(start, most))) : behind;
}

function takeInTurn(state: State, plan: ClaimPlan, queues: Queue[], priority: number): void {
  let walkers = queues.map((queue) => new Walker(state, queue, priority));
  while (walkers.length > 0 && plan.left > 0 && !plan.full) {
    const share = Math.max(1, Math.floor(plan.left / walkers.length));
    const going: Walker[] = [];
    for (const walker of walkers) {
      if (plan.left === 0 || plan.full) break;
      if (walker.take(plan, Math.min(share, plan.left))) going.push(walker);
      if (plan.needs.length > 0) return;
    }
    walkers = going;
  }
}

/** Goes through the ready tasks of one queue and priority without changing them. */
class Walker {
  private readonly state: State;
  private readonly queue: Queue;
  private readonly list: ReadyList;
  private index = 0;
  private place = 0;
  private pick: Pick | null = null;

  constructor(state: State, queue: Queue, priority: number) {
    this.state = state;
    this.queue = queue;
    this.list = state.list(queue, priority);
  }

  /** Takes up to `count` tasks; false when the queue has no more or the plan is stopped. */
  take(plan: ClaimPlan, count: number): boolean {
    let left = count;
    while (left > 0) {
      const segment = this.list.at(this.index);
      if (!segment) {
        if (!this.list.complete) plan.needs.push({ kind: "ready", list: this.list });
        return false;
      }
      const run = segment.gone ? undefined : this.state.run(segment.runKey);
      if (!segment.gone && !run) {
        this.needRuns(plan);
        return false;
      }
      const place = run ? run.findReady(segment.seq, Math.max(this.place, segment.from)) : -1;
      if (!run || place < 0) {
        this.index++;
        this.place = 0;
        this.pick = null;
        continue;
      }
      if (!this.add(plan, segment, run, place)) return false;
      left--;
    }
    return true;
  }

  private add(plan: ClaimPlan, segment: Segment, run: Run, place: number): boolean {
    const size = run.get(col.SIZE, place) + answerOverheadBytes + 2 * run.queue.name.length;
    if (plan.bytes > 0 && plan.bytes + size > plan.command.bytesMax) {
      plan.full = true;
      return false;
    }
    plan.bytes += size;
    plan.left--;
    plan.last = this.queue;
    if (!this.pick) {
      this.pick = { segment, run, places: [] };
      plan.picks.push(this.pick);
    }
    this.pick.places.push(place);
    this.place = place + 1;
    return true;
  }

  private needRuns(plan: ClaimPlan): void {
    for (let i = this.index; i < this.index + readAheadRuns; i++) {
      const segment = this.list.at(i);
      if (!segment) break;
      if (!segment.gone && !this.state.run(segment.runKey)) {
        const absent = this.state.isKnownAbsent(segment.runKey);
        assert(!absent, "a ready row leads to a run", this.queue.name, segment.seq);
        plan.needs.push({ kind: "run", key: segment.runKey });
      }
    }
  }
}

/** Carries a plan out. @param leaseToken - of all tasks of this claim */
export function claim(state: State, plan: ClaimPlan, leaseToken: number): ClaimResult {
  const { command } = plan;
  const leaseUntil = state.counters.timeMs + command.leaseMs;
  const grants: ClaimedTasks[] = [];
  for (const pick of plan.picks) grants.push(lease(state, command, pick, leaseToken, leaseUntil));
  const { last } = plan;
  if (last && last.tenant.cursor !== last.id && command.queues?.length !== 1) {
    last.tenant.cursor = last.id;
    state.touchTenant(last.tenant);
  }
  return { kind: "claimed", grants, count: command.count - plan.left };
}

function lease(
  state: State,
  command: ClaimCommand,
  pick: Pick,
  leaseToken: number,
  leaseUntil: number,
): ClaimedTasks {
  const { run, segment } = pick;
  const count = pick.places.length;
  const places = new Uint8Array(count);
  const attempts = new Uint16Array(count);
  const worker = run.internWorker(command.workerId);
  for (let i = 0; i < count; i++) {
    const place = pick.places[i] as number;
    places[i] = place;
    const attempt = run.get(col.ATTEMPTS, place) + 1;
    attempts[i] = attempt;
    run.set(col.STATE, place, taskState.leased);
    run.set(col.ATTEMPTS, place, attempt);
    run.set(col.SEQ, place, 0);
    run.set(col.DUE, place, leaseUntil);
    run.set(col.TOKEN, place, leaseToken);
    run.set(col.WORKER, place, worker);
    run.set(col.UPDATED, place, state.counters.timeMs);
    run.set(col.LEASE, place, command.leaseMs);
  }
  segment.from = (pick.places[count - 1] as number) + 1;
  state.touch(run);
  state.leaveReady(run, segment.seq, count);
  run.queue.leased += count;
  state.enterDue(run, leaseUntil, count);
  return { run, places, attempts, leaseToken, leaseUntil };
}
