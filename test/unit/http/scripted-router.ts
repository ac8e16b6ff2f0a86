/**
 * A Router for tests of the edge: it writes down every call and answers as the test says. It knows
 * no queue rules; ids count up from 1.
 */
import { errorCodes, type QueueError } from "../../../src/base/errors.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import type {
  ClaimHandle,
  ClaimOutcome,
  ClaimRequest,
  CreateBatch,
  CreateResults,
  Grant,
  NewTask,
  ReadConsistency,
  ResultView,
  Router,
  RouterHealth,
  SettleBatch,
  SettleResults,
  TaskView,
} from "../../../src/router/router.ts";

export const nowMs = Date.UTC(2026, 2, 5, 8, 9, 10, 11);

export interface CreatedItem {
  readonly tenant: string;
  readonly task: NewTask;
  readonly payload: string;
}

export interface SettledItem {
  readonly tenant: string;
  readonly workerId: string;
  readonly kind: "complete" | "fail" | "nack" | "abandon" | "release" | "heartbeat";
  readonly id: string;
  readonly leaseToken: number;
  readonly detail: string | number | null;
  readonly error?: string;
}

/** What a created or settled item is answered with. */
export interface ItemAnswer {
  readonly error?: QueueError;
  readonly duplicate?: boolean;
  readonly runAtMs?: number;
  readonly timeMs?: number;
  readonly dead?: boolean;
}

export class ScriptedRouter implements Router {
  readonly shardCount = 1;
  readonly created: CreatedItem[] = [];
  readonly settled: SettledItem[] = [];
  readonly claims: ClaimRequest[] = [];
  readonly reads: { tenant: string; id: string; consistency: ReadConsistency; waitMs: number }[] =
    [];
  canceledClaims = 0;
  drained = false;

  answerCreate: (item: CreatedItem) => ItemAnswer = () => ({});
  answerSettle: (item: SettledItem) => ItemAnswer = () => ({ timeMs: nowMs });
  /** undefined = never */
  answerClaim: (request: ClaimRequest) => ClaimOutcome | undefined = () => ({ kind: "empty" });
  answerTask: (tenant: string, id: string) => Promise<TaskView> = (tenant, id) =>
    Promise.resolve(taskView({ tenant, id }));
  answerResult: (task: TaskView, signal: AbortSignal | undefined) => Promise<ResultView | null> =
    () => Promise.resolve(null);
  answerHealth: RouterHealth = { ready: true, reason: "", isLeader: true, shards: [] };
  /** Called when a claim came in: tests wait for it instead of sleeping. */
  onClaim: (done: (outcome: ClaimOutcome) => void) => void = () => undefined;

  onCanceledClaim: () => void = () => undefined;

  private lastId = 0;

  createBatch(tenant: string): CreateBatch {
    const items: (CreatedItem | QueueError)[] = [];
    return {
      get count() {
        return items.length;
      },
      add: (task, bytes, from, to) => {
        const payload = Buffer.from(bytes.subarray(from, to)).toString();
        items.push({ tenant, task: { ...task }, payload });
      },
      addRefused: (error) => items.push(error),
      send: (_runId, done) => {
        setImmediate(() => done(this.toCreateResults(items)));
      },
    };
  }

  claim(request: ClaimRequest, done: (outcome: ClaimOutcome) => void): ClaimHandle {
    this.claims.push(request);
    let isOver = false;
    const answer = (outcome: ClaimOutcome) => {
      if (isOver) return;
      isOver = true;
      done(outcome);
    };
    const outcome = this.answerClaim(request);
    setImmediate(() => {
      this.onClaim(answer);
      if (outcome !== undefined) answer(outcome);
    });
    return {
      cancel: () => {
        if (isOver) return;
        isOver = true;
        this.canceledClaims++;
        this.onCanceledClaim();
      },
    };
  }

  settleBatch(tenant: string, workerId: string): SettleBatch {
    const items: (SettledItem | QueueError)[] = [];
    const add = (item: Omit<SettledItem, "tenant" | "workerId">) => {
      items.push({ tenant, workerId, ...item });
    };
    const text = (bytes: Uint8Array | null) =>
      bytes === null ? null : Buffer.from(bytes).toString();
    return {
      get count() {
        return items.length;
      },
      complete: (id, at, leaseToken, result) =>
        add({ kind: "complete", id: formatTaskId(id, at), leaseToken, detail: text(result) }),
      fail: (id, at, leaseToken, error, result) =>
        add({
          kind: "fail",
          id: formatTaskId(id, at),
          leaseToken,
          detail: text(result),
          error: Buffer.from(error).toString(),
        }),
      nack: (id, at, leaseToken, delayMs, reason) =>
        add({ kind: "nack", id: formatTaskId(id, at), leaseToken, detail: delayMs, error: reason }),
      abandon: (id, at, leaseToken) =>
        add({ kind: "abandon", id: formatTaskId(id, at), leaseToken, detail: null }),
      release: (id, at, leaseToken) =>
        add({ kind: "release", id: formatTaskId(id, at), leaseToken, detail: null }),
      heartbeat: (id, at, leaseToken, extendMs) =>
        add({ kind: "heartbeat", id: formatTaskId(id, at), leaseToken, detail: extendMs }),
      addRefused: (error) => items.push(error),
      send: (done) => {
        setImmediate(() => done(this.toSettleResults(items)));
      },
    };
  }

  cancel(tenant: string, id: Uint8Array): Promise<TaskView> {
    return this.answerTask(tenant, formatTaskId(id));
  }

  task(tenant: string, id: Uint8Array, consistency: ReadConsistency): Promise<TaskView> {
    this.reads.push({ tenant, id: formatTaskId(id), consistency, waitMs: 0 });
    return this.answerTask(tenant, formatTaskId(id));
  }

  async result(
    tenant: string,
    id: Uint8Array,
    options: {
      readonly waitMs: number;
      readonly consistency: ReadConsistency;
      readonly signal?: AbortSignal;
    },
  ) {
    const { waitMs, consistency, signal } = options;
    this.reads.push({ tenant, id: formatTaskId(id), consistency, waitMs });
    const task = await this.answerTask(tenant, formatTaskId(id));
    return { task, result: await this.answerResult(task, signal) };
  }

  health(): RouterHealth {
    return this.answerHealth;
  }

  onCancel(): () => void {
    return () => undefined;
  }

  drain(): void {
    this.drained = true;
  }

  private toCreateResults(items: readonly (CreatedItem | QueueError)[]): CreateResults {
    const { length } = items;
    const ids = Buffer.alloc(16 * length);
    const errors: (QueueError | undefined)[] = [];
    const results = {
      count: length,
      codes: new Uint8Array(length),
      ids,
      duplicates: new Uint8Array(length),
      createdAtMs: new Float64Array(length).fill(nowMs),
      runAtMs: new Float64Array(length),
      error: (i: number) => errors[i],
    };
    for (const [i, item] of items.entries()) {
      if (item instanceof Error) {
        errors[i] = item;
      } else {
        this.created.push(item);
        const answer = this.answerCreate(item);
        errors[i] = answer.error;
        idBytes(++this.lastId).copy(ids, 16 * i);
        results.duplicates[i] = answer.duplicate ? 1 : 0;
        results.runAtMs[i] = answer.runAtMs ?? 0;
      }
      results.codes[i] = numberOf(errors[i]);
    }
    return results;
  }

  private toSettleResults(items: readonly (SettledItem | QueueError)[]): SettleResults {
    const errors: (QueueError | undefined)[] = [];
    const results = {
      count: items.length,
      codes: new Uint8Array(items.length),
      times: new Float64Array(items.length),
      dead: new Uint8Array(items.length),
      error: (i: number) => errors[i],
    };
    for (const [i, item] of items.entries()) {
      if (item instanceof Error) {
        errors[i] = item;
      } else {
        this.settled.push(item);
        const answer = this.answerSettle(item);
        errors[i] = answer.error;
        results.times[i] = answer.timeMs ?? 0;
        results.dead[i] = answer.dead ? 1 : 0;
      }
      results.codes[i] = numberOf(errors[i]);
    }
    return results;
  }
}

function numberOf(error: QueueError | undefined): number {
  return error === undefined ? 0 : errorCodes[error.code].number;
}

/** The 16 bytes of the n-th id. */
export function idBytes(n: number): Buffer {
  const id = Buffer.from("018f00000000700080000000000000ff", "hex");
  id.writeUInt16BE(n, 12);
  return id;
}

export function idText(n: number): string {
  return formatTaskId(idBytes(n));
}

export function taskView(more: Partial<TaskView> = {}): TaskView {
  return {
    id: idText(1),
    tenant: "default",
    queue: "mail",
    priority: 0,
    state: "ready",
    attempts: 0,
    maxAttempts: 5,
    payload: Buffer.from('{"to":"a"}'),
    workerId: "",
    leaseToken: 0,
    leaseUntilMs: 0,
    runAtMs: 0,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    error: "",
    extras: null,
    ...more,
  };
}

/** A grant of tasks with these payloads. */
export function granted(workerId: string, payloads: readonly (string | Buffer)[]): ClaimOutcome {
  const parts = payloads.map((payload) => Buffer.from(payload as string));
  const from = new Uint32Array(parts.length);
  const to = new Uint32Array(parts.length);
  let at = 0;
  for (const [i, part] of parts.entries()) {
    from[i] = at;
    at += part.length;
    to[i] = at;
  }
  const grant: Grant = {
    tenant: "default",
    queue: "mail",
    priority: 3,
    workerId,
    leaseToken: 4096,
    leaseUntilMs: nowMs + 300_000,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    count: parts.length,
    ids: Buffer.concat(parts.map((_, i) => idBytes(i + 1))),
    attempts: new Uint16Array(parts.length).fill(1),
    maxAttempts: new Uint16Array(parts.length).fill(5),
    block: Buffer.concat(parts),
    payloadFrom: from,
    payloadTo: to,
    extras: null,
  };
  return { kind: "granted", grants: [grant], count: parts.length };
}
