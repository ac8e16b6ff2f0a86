/**
 * Sends settlements and waits for their acks: results of one turn in shared frames, the others one
 * by one; again after a lost stream or a passing refusal, until the lease is over.
 */
import type { AckFailure, SettleAcks } from "../api/received-ack-coder.ts";
import type { ResultInput } from "../api/settle-coder.ts";
import type { TimerHandle } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { backoffMs } from "./backoff.ts";
import { errorOfAck, type QuorumQError } from "./errors.ts";
import type { HeldTask } from "./held-task.ts";
import { nextTry } from "./retry.ts";
import type { ClientEffects } from "./system.ts";
import type { WorkerStream } from "./worker-stream.ts";

/** What came of a settlement. */
export interface SettleEnd {
  /** null: it is durable; else it can not be any more. */
  readonly error: QuorumQError | null;
  /** Of a nack: ms until the task is ready again. */
  readonly delayMs: number;
  /** Of a nack: it was the last attempt. */
  readonly isDead: boolean;
}

export interface SettlerEvents {
  over(held: HeldTask, end: SettleEnd): void;
}

export class Settler {
  private readonly effects: ClientEffects;
  private readonly stream: WorkerStream;
  private readonly events: SettlerEvents;
  /** By task id; all of them are in state `ending`. */
  private readonly ending = new Map<string, HeldTask>();
  private unsent: HeldTask[] = [];
  private isFlushDue = false;
  private retryTimer: TimerHandle | null = null;

  constructor(effects: ClientEffects, stream: WorkerStream, events: SettlerEvents) {
    this.effects = effects;
    this.stream = stream;
    this.events = events;
  }

  get size(): number {
    return this.ending.size;
  }

  /** Takes a task whose settlement is set. */
  add(held: HeldTask): void {
    held.state = "ending";
    this.ending.set(held.task.id, held);
    this.unsent.push(held);
    this.scheduleFlush();
  }

  /** A new stream: nothing of before will be answered. */
  opened(): void {
    this.stopRetryTimer();
    this.unsent = [...this.ending.values()];
    for (const held of this.unsent) {
      held.isSent = false;
      held.refusals = 0;
    }
    this.flush();
  }

  acked(acks: SettleAcks): void {
    for (let i = 0; i < acks.count; i++) {
      const held = this.ending.get(acks.taskIds[i] ?? "");
      if (held === undefined || !held.isSent) continue;
      const failure = acks.failures[i];
      const { timeMs: delayMs, isDead } = acks;
      if (failure === undefined) this.end(held, { error: null, delayMs, isDead });
      else this.refused(held, failure);
    }
  }

  /** Gives up on settlements whose lease is over for certain. */
  expire(nowMs: number, error: QuorumQError): void {
    for (const held of [...this.ending.values()]) {
      if (held.leaseEndsMs <= nowMs) this.fail(held, error);
    }
  }

  stop(): void {
    this.stopRetryTimer();
    this.ending.clear();
    this.unsent = [];
  }

  private fail(held: HeldTask, error: QuorumQError): void {
    this.end(held, { error, delayMs: 0, isDead: false });
  }

  private end(held: HeldTask, end: SettleEnd): void {
    if (this.ending.get(held.task.id) === held) this.ending.delete(held.task.id);
    held.state = "over";
    this.events.over(held, end);
  }

  private refused(held: HeldTask, failure: AckFailure): void {
    const error = errorOfAck(failure);
    held.isSent = false;
    const tries = held.refusals + 1;
    switch (nextTry({ code: error.code, tries, isRepeatable: true })) {
      case "elsewhere":
        this.unsent.push(held);
        this.stream.move(error);
        return;
      case "later":
        this.retryLater(held);
        return;
      case "give up":
        this.refusedForGood(held, error);
        return;
    }
  }

  private retryLater(held: HeldTask): void {
    const round = held.refusals++;
    this.unsent.push(held);
    this.retryTimer ??= this.effects.timers.after(backoffMs(round, this.effects.random), () => {
      this.retryTimer = null;
      this.flush();
    });
  }

  private refusedForGood(held: HeldTask, error: QuorumQError): void {
    const isResult = held.settlement?.kind === "complete" || held.settlement?.kind === "fail";
    if (!isResult || error.code === "lease_lost" || error.code === "not_found") {
      this.fail(held, error);
      return;
    }
    // The result itself is at fault: the task must not sit until its lease runs out.
    const reason = `result refused: ${error.code}: ${error.message}`;
    held.settlement = { kind: "nack", reason, delaySeconds: 0 };
    held.outcome = error;
    held.refusals = 0;
    this.unsent.push(held);
    this.scheduleFlush();
  }

  private scheduleFlush(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    this.effects.timers.soon(() => {
      this.isFlushDue = false;
      // While a refusal waits out its time, what is new waits with it.
      if (this.retryTimer === null) this.flush();
    });
  }

  private flush(): void {
    if (!this.stream.isOpen) return;
    const { unsent } = this;
    this.unsent = [];
    let results: ResultInput[] = [];
    let bytes = 0;
    for (const held of unsent) {
      if (held.state !== "ending" || held.isSent) continue;
      held.isSent = true;
      const result = resultOf(held);
      if (result === null) {
        this.sendOther(held);
        continue;
      }
      const size = result.result?.length ?? 0;
      const isFull = results.length === limits.batchItems || bytes + size > limits.clientFrameBytes;
      if (isFull && results.length > 0) {
        this.stream.results(results);
        results = [];
        bytes = 0;
      }
      results.push(result);
      bytes += size;
    }
    if (results.length > 0) this.stream.results(results);
  }

  private sendOther({ task, settlement }: HeldTask): void {
    if (settlement?.kind === "nack") this.stream.nack(task, settlement);
    else this.stream.abandon(task);
  }

  private stopRetryTimer(): void {
    this.retryTimer?.cancel();
    this.retryTimer = null;
  }
}

function resultOf({ task, settlement }: HeldTask): ResultInput | null {
  const claim = { taskId: task.id, leaseToken: task.leaseToken };
  switch (settlement?.kind) {
    case "complete":
      return { ...claim, status: "COMPLETED", result: settlement.result, error: "" };
    case "fail":
      return { ...claim, status: "FAILED", result: settlement.result, error: settlement.error };
    default:
      return null;
  }
}
