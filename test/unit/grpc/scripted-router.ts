/**
 * A router that does what a test tells it: tasks in a list, no rules of a queue. By default every
 * create and settle is acknowledged in a later turn of the event loop; `hold` keeps the answers
 * back, `failWith` refuses.
 */
import { errorCodes, type QueueError } from "../../../src/base/errors.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import type {
  CancelNotice,
  ClaimHandle,
  ClaimOutcome,
  ClaimRequest,
  CreateBatch,
  CreateResults,
  Grant,
  NewTask,
  Router,
  SettleBatch,
  SettleResults,
} from "../../../src/router/router.ts";

export interface ScriptedTask {
  readonly id: Buffer;
  readonly tenant: string;
  readonly task: NewTask;
  readonly payload: Buffer;
}

export interface Settled {
  readonly kind: "complete" | "fail" | "nack" | "abandon" | "release" | "heartbeat" | "refused";
  readonly id: string;
  readonly leaseToken: number;
  /** result, error, reason, delay or extension as text */
  readonly detail: string;
  readonly tenant: string;
  readonly workerId: string;
}

interface WaitingClaim {
  readonly request: ClaimRequest;
  readonly done: (outcome: ClaimOutcome) => void;
}

export class ScriptedRouter implements Router {
  readonly shardCount = 1;
  readonly created: ScriptedTask[] = [];
  readonly settled: Settled[] = [];
  /** Sizes of the batches that were sent. */
  readonly createBatches: { readonly count: number; readonly runId: string | null }[] = [];
  readonly settleBatches: number[] = [];
  readonly claims = new Set<WaitingClaim>();
  claimsMade = 0;
  claimsCanceled = 0;
  isLeader = true;
  isReady = true;
  isDraining = false;
  /** Answers are kept back until `release`. */
  hold = false;
  /** What creates and settles, or claims, fail with. */
  failWith: QueueError | null = null;
  failClaims: QueueError | null = null;
  /** Thrown out of createBatch, as a bug would be. */
  bug: Error | null = null;
  private readonly held: (() => void)[] = [];
  private readonly ready: ScriptedTask[] = [];
  private readonly cancelListeners = new Set<(notice: CancelNotice) => void>();
  private made = 0;
  private token = 0;

  /** Lets the answers go that were kept back. */
  release(): void {
    this.hold = false;
    for (const answer of this.held.splice(0)) answer();
  }

  /** Tasks that nobody claimed yet. */
  get readyCount(): number {
    return this.ready.length;
  }

  get heldAnswers(): number {
    return this.held.length;
  }

  cancelTask(notice: CancelNotice): void {
    for (const listener of this.cancelListeners) listener(notice);
  }

  get cancelListenerCount(): number {
    return this.cancelListeners.size;
  }

  createBatch(tenant: string): CreateBatch {
    if (this.bug !== null) throw this.bug;
    const tasks: (ScriptedTask | QueueError)[] = [];
    return {
      get count() {
        return tasks.length;
      },
      add: (task, bytes, from, to) => {
        const payload = Buffer.from(bytes.subarray(from, to));
        tasks.push({ id: this.nextId(), tenant, task: { ...task }, payload });
      },
      addRefused: (error) => tasks.push(error),
      send: (runId, done) => {
        const text = runId === null ? null : Buffer.from(runId).toString("hex");
        this.createBatches.push({ count: tasks.length, runId: text });
        this.answer(() => done(this.storeAll(tasks)));
      },
    };
  }

  claim(request: ClaimRequest, done: (outcome: ClaimOutcome) => void): ClaimHandle {
    const waiting = { request, done };
    this.claims.add(waiting);
    this.claimsMade++;
    setImmediate(() => this.serve());
    return {
      cancel: () => {
        if (this.claims.delete(waiting)) this.claimsCanceled++;
      },
    };
  }

  settleBatch(tenant: string, workerId: string): SettleBatch {
    const items: (Omit<Settled, "tenant" | "workerId"> & { readonly error?: QueueError })[] = [];
    const add = (
      kind: Settled["kind"],
      id: Uint8Array,
      leaseToken: number,
      detail: string,
    ): void => {
      items.push({ kind, id: formatTaskId(id), leaseToken, detail });
    };
    return {
      get count() {
        return items.length;
      },
      complete: (id, at, token, result) => {
        add("complete", id.subarray(at), token, result === null ? "" : String(result));
      },
      fail: (id, at, token, error) => add("fail", id.subarray(at), token, String(error)),
      nack: (id, at, token, delayMs, reason) => {
        add("nack", id.subarray(at), token, `${delayMs} ${reason}`);
      },
      abandon: (id, at, token) => add("abandon", id.subarray(at), token, ""),
      release: (id, at, token) => add("release", id.subarray(at), token, ""),
      heartbeat: (id, at, token, ms) => add("heartbeat", id.subarray(at), token, String(ms)),
      addRefused: (error) =>
        items.push({ kind: "refused", id: "", leaseToken: 0, detail: error.code, error }),
      send: (done) => {
        this.settleBatches.push(items.length);
        for (const { error: _, ...item } of items) this.settled.push({ ...item, tenant, workerId });
        this.answer(() => done(this.settleResults(items.map((item) => item.error))));
      },
    };
  }

  health() {
    return { ready: this.isReady, reason: "", isLeader: this.isLeader, shards: [] };
  }

  onCancel(listener: (notice: CancelNotice) => void): () => void {
    this.cancelListeners.add(listener);
    return () => this.cancelListeners.delete(listener);
  }

  drain(): void {
    this.isDraining = true;
  }

  cancel(): Promise<never> {
    return Promise.reject(new Error("not on a stream"));
  }
  task(): Promise<never> {
    return Promise.reject(new Error("not on a stream"));
  }
  result(): Promise<never> {
    return Promise.reject(new Error("not on a stream"));
  }

  private answer(send: () => void): void {
    if (this.hold) this.held.push(send);
    else setImmediate(send);
  }

  private nextId(): Buffer {
    const id = Buffer.from("01890a5dac96774b8cceb302099a0000", "hex");
    id.writeUInt32BE(++this.made, 10);
    return id;
  }

  private storeAll(tasks: readonly (ScriptedTask | QueueError)[]): CreateResults {
    const { failWith } = this;
    const errors = tasks.map((one) => (one instanceof Error ? one : (failWith ?? undefined)));
    const ids = Buffer.alloc(tasks.length * 16);
    for (const [i, one] of tasks.entries()) {
      if (one instanceof Error || errors[i] !== undefined) continue;
      one.id.copy(ids, i * 16);
      this.created.push(one);
      this.ready.push(one);
    }
    if (this.ready.length > 0) setImmediate(() => this.serve());
    return {
      count: tasks.length,
      codes: codesOf(errors),
      ids,
      duplicates: new Uint8Array(tasks.length),
      createdAtMs: new Float64Array(tasks.length),
      runAtMs: new Float64Array(tasks.length),
      error: (i) => errors[i],
    };
  }

  private settleResults(refused: readonly (QueueError | undefined)[]): SettleResults {
    const errors = refused.map((error) => error ?? this.failWith ?? undefined);
    return {
      count: errors.length,
      codes: codesOf(errors),
      times: new Float64Array(errors.length).fill(1500),
      dead: new Uint8Array(errors.length),
      error: (i) => errors[i],
    };
  }

  private serve(): void {
    for (const waiting of [...this.claims]) {
      // Canceled by an answer of this very loop.
      if (!this.claims.has(waiting)) continue;
      if (this.failClaims !== null) {
        this.claims.delete(waiting);
        waiting.done({ kind: "failed", error: this.failClaims });
        continue;
      }
      const taken = this.take(waiting.request);
      if (taken.length === 0) continue;
      this.claims.delete(waiting);
      const grants = taken.map((one) => this.grant(waiting.request, one));
      waiting.done({ kind: "granted", grants, count: grants.length });
    }
  }

  private take(request: ClaimRequest): ScriptedTask[] {
    const taken: ScriptedTask[] = [];
    for (let i = 0; i < this.ready.length && taken.length < request.count; i++) {
      const one = this.ready[i] as ScriptedTask;
      if (one.tenant !== request.tenant) continue;
      if (request.queues !== null && !request.queues.includes(one.task.queue)) continue;
      taken.push(one);
      this.ready.splice(i--, 1);
    }
    return taken;
  }

  private grant(request: ClaimRequest, one: ScriptedTask): Grant {
    const { task, payload } = one;
    return {
      tenant: one.tenant,
      queue: task.queue,
      priority: task.priority,
      workerId: request.workerId,
      leaseToken: ++this.token,
      leaseUntilMs: Date.now() + request.leaseMs,
      createdAtMs: 1_767_000_000_000,
      updatedAtMs: 1_767_000_000_000,
      count: 1,
      ids: one.id,
      attempts: Uint16Array.of(1),
      maxAttempts: Uint16Array.of(task.maxAttempts),
      block: payload,
      payloadFrom: Uint32Array.of(0),
      payloadTo: Uint32Array.of(payload.length),
      extras: task.extras === null ? null : [task.extras],
    };
  }
}

function codesOf(errors: readonly (QueueError | undefined)[]): Uint8Array {
  return Uint8Array.from(errors, (error) => {
    return error === undefined ? 0 : errorCodes[error.code].number;
  });
}
