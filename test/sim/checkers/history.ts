/**
 * What the clients alone can tell: no look into the node. Creates, grants and settles of each task
 * as they were answered, and what must hold between them (FAULTS Q1–Q7, Q9, Q16). Answers may be
 * reported in another order than they were decided in; lease tokens give the order.
 */
import { must } from "../violation.ts";

interface Granted {
  readonly token: number;
  readonly attempt: number;
  /** Leader time at which it was claimed. */
  readonly claimedMs: number;
  readonly untilMs: number;
}

export interface TaskHistory {
  readonly id: string;
  readonly marker: string;
  /** By token. */
  readonly grants: Granted[];
  /** Acknowledged create. */
  created: boolean;
  /** Ended by this token, 0 = by a cancel; null = not that a client knows. */
  endedBy: number | null;
}

export interface GrantSeen {
  readonly id: string;
  readonly payload: string;
  readonly token: number;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly claimedMs: number;
  readonly untilMs: number;
}

export class History {
  /** Dead tasks may come back, with their attempts counted anew. */
  private readonly mayRedrive: boolean;
  readonly tasks = new Map<string, TaskHistory>();
  /** Payloads that were sent, and the id each got; "" = none known yet. */
  private readonly sent = new Map<string, string>();
  /** Payloads of creates that were refused for sure. */
  private readonly refused = new Set<string>();
  /** The claims that got them, by shard and lease token. */
  private readonly tokens = new Map<string, string>();
  /** Leases that somebody tried to end or to change: task and token, or the task alone. */
  private readonly touched = new Set<string>();
  /** Tasks for which an abandon was sent: it gives an attempt back. */
  private readonly abandoned = new Set<string>();

  constructor(mayRedrive: boolean) {
    this.mayRedrive = mayRedrive;
  }

  willCreate(payload: string): void {
    if (!this.sent.has(payload)) this.sent.set(payload, "");
  }

  createRefused(payload: string): void {
    must(this.sent.get(payload) === "", "a refused create leaves no task", payload);
    this.refused.add(payload);
  }

  created(id: string, payload: string): void {
    this.found(id, payload).created = true;
  }

  /** A task has shown itself. */
  private found(id: string, payload: string): TaskHistory {
    const known = this.sent.get(payload);
    must(known !== undefined, "nothing is invented", id, payload.slice(0, 40));
    must(known === "" || known === id, "one task per create", payload.slice(0, 40), known, id);
    must(!this.refused.has(payload), "a refused create leaves no task", payload.slice(0, 40));
    this.sent.set(payload, id);
    let task = this.tasks.get(id);
    if (!task) {
      const marker = payload;
      task = { id, marker, grants: [], created: false, endedBy: null };
      this.tasks.set(id, task);
    }
    must(task.marker === payload, "the payload that was sent", id, payload.slice(0, 40));
    return task;
  }

  /** A token has left the node in the answer to a claim, durable or not. */
  tokenSeen(shard: number, token: number, claim: string): void {
    const name = `${shard}/${token}`;
    const before = this.tokens.get(name);
    must(before === undefined || before === claim, "a lease token repeats", name, before, claim);
    this.tokens.set(name, claim);
  }

  granted(seen: GrantSeen): void {
    const task = this.found(seen.id, seen.payload);
    const { token, attempt, claimedMs, untilMs } = seen;
    must(attempt >= 1 && attempt <= seen.maxAttempts, "attempts", seen.id, attempt);
    const { endedBy } = task;
    must(
      endedBy === null || token <= endedBy,
      "a task that ended is not delivered",
      seen.id,
      token,
    );
    const at = task.grants.findIndex((other) => other.token >= token);
    must(at < 0 || task.grants[at]?.token !== token, "a token for one claim", seen.id, token);
    const place = at < 0 ? task.grants.length : at;
    task.grants.splice(place, 0, { token, attempt, claimedMs, untilMs });
    for (let i = Math.max(1, place); i < Math.min(place + 2, task.grants.length); i++) {
      this.inTurn(task, task.grants[i - 1] as Granted, task.grants[i] as Granted);
    }
  }

  private inTurn(task: TaskHistory, before: Granted, after: Granted): void {
    const grows = after.attempt > before.attempt || this.mayRedrive;
    const kept = this.abandoned.has(task.id) && after.attempt === before.attempt;
    must(grows || kept, "attempts count claims", task.id, before.attempt, after.attempt);
    if (this.touched.has(task.id) || this.touched.has(`${task.id} ${before.token}`)) return;
    const exclusive = after.claimedMs >= before.untilMs;
    must(exclusive, "a lease is exclusive", task.id, before.untilMs, after.claimedMs);
  }

  /** A settle is sent. @returns whether a later token is known, so that it must be refused */
  willSettle(id: string, token: number, givesBack: boolean): boolean {
    this.touched.add(token === 0 ? id : `${id} ${token}`);
    if (givesBack) this.abandoned.add(id);
    const grants = this.tasks.get(id)?.grants ?? [];
    return token > 0 && grants.some((grant) => grant.token > token);
  }

  /**
   * The task was ended with this token, by an answered settle.
   * @param isDead - it may be redriven
   */
  ended(id: string, token: number, isDead: boolean): void {
    const task = this.tasks.get(id);
    if (!task || (isDead && this.mayRedrive)) return;
    must(task.endedBy === null || task.endedBy === token, "a task ends once", id, task.endedBy);
    task.endedBy = token;
    const later = task.grants.find((grant) => grant.token > token);
    must(later === undefined, "a task that ended is not delivered", id, later?.token);
  }

  canceled(id: string): void {
    const task = this.tasks.get(id);
    if (task) task.endedBy ??= Number.MAX_SAFE_INTEGER;
  }
}
