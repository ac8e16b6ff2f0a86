/**
 * Settles and heartbeats of one worker stream on their way to the router. Lone ones that arrive in
 * one turn of the event loop go together; every frame gets its own answer.
 */
import { encodeSettleAcks } from "../../api/ack-coder.ts";
import type { SettleFrame, SettleFrameKind } from "../../api/settle-coder.ts";
import type { Identity, Scope } from "../../auth/authenticator.ts";
import type { Timers } from "../../base/effects.ts";
import { QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { SettleBatch, SettleResults } from "../../router/router.ts";

const scopes: Readonly<Record<SettleFrameKind, Scope>> = {
  result: "codeq:result",
  result_batch: "codeq:result",
  nack: "codeq:nack",
  heartbeat: "codeq:heartbeat",
  abandon: "codeq:abandon",
};

/** Lone settles that are sent off together, at the most. */
const mergedSettles = 256;

export interface SettleQueueDeps {
  readonly timers: Timers;
  readonly identity: Identity;
  newBatch(): SettleBatch;
  /** A frame waits for its answer from now on. */
  took(bytes: number): void;
  /** A frame's answers, from `at` on, and the ack to be sent. */
  settled(frame: SettleFrame, results: SettleResults, at: number, ack: Buffer): void;
  /** Ms, on the monotonic clock. */
  nowMs(): number;
  /** All frames of a batch, sent at `sinceMs`, are answered. */
  answered(frames: number, bytes: number, sinceMs: number): void;
}

const noResults = {
  codes: new Uint8Array(0),
  times: new Float64Array(0),
  dead: new Uint8Array(0),
  error: () => undefined,
};

export class SettleQueue {
  private readonly deps: SettleQueueDeps;
  /** Lone settles of this turn, in order, and the batch they are added to. */
  private lone: SettleFrame[] = [];
  private loneBatch: SettleBatch | null = null;

  constructor(deps: SettleQueueDeps) {
    this.deps = deps;
  }

  /**
   * Takes a frame. The empty batch is answered by the returned ack; all others later.
   * @throws DecodeError when it is malformed: nothing of it is settled
   */
  take(frame: SettleFrame): Buffer | null {
    if (frame.kind === "result_batch") return this.takeBatch(frame);
    frame.next();
    if (this.loneBatch === null) {
      this.loneBatch = this.deps.newBatch();
      this.deps.timers.soon(() => this.sendLone());
    }
    this.add(this.loneBatch, frame);
    this.lone.push(frame);
    this.deps.took(frame.buffer.length);
    if (this.lone.length === mergedSettles) this.sendLone();
    return null;
  }

  private takeBatch(frame: SettleFrame): Buffer | null {
    if (frame.count === 0) return encodeSettleAcks(frame, noResults);
    const batch = this.deps.newBatch();
    while (frame.next()) this.add(batch, frame);
    this.deps.took(frame.buffer.length);
    this.sendLone();
    this.send(batch, [frame]);
    return null;
  }

  private add(batch: SettleBatch, frame: SettleFrame): void {
    const scope = scopes[frame.kind];
    const error = this.deps.identity.can(scope)
      ? addItem(batch, frame)
      : new QueueError("permission_denied", `the token has no scope ${scope}`);
    if (error !== null) batch.addRefused(error);
  }

  private sendLone(): void {
    const { loneBatch, lone } = this;
    if (loneBatch === null) return;
    this.loneBatch = null;
    this.lone = [];
    this.send(loneBatch, lone);
  }

  private send(batch: SettleBatch, frames: readonly SettleFrame[]): void {
    const sinceMs = this.deps.nowMs();
    batch.send((results) => {
      let at = 0;
      let bytes = 0;
      for (const frame of frames) {
        this.deps.settled(frame, results, at, encodeSettleAcks(frame, results, at));
        at += frame.count;
        bytes += frame.buffer.length;
      }
      this.deps.answered(frames.length, bytes, sinceMs);
    });
  }
}

/** @returns why the item is refused, or null when it was added */
function addItem(batch: SettleBatch, frame: SettleFrame): QueueError | null {
  if (!frame.hasId) return new QueueError("not_found", "task_id: no such task");
  if (!Number.isSafeInteger(frame.leaseToken)) {
    return new QueueError("lease_lost", "lease_token: no lease has it");
  }
  switch (frame.kind) {
    case "result":
    case "result_batch":
      return addResult(batch, frame);
    case "nack":
      return addNack(batch, frame);
    case "heartbeat": {
      const seconds = Math.min(Math.max(frame.seconds, 0), limits.leaseSecondsMax);
      batch.heartbeat(frame.id, 0, frame.leaseToken, seconds * 1000);
      return null;
    }
    case "abandon":
      batch.abandon(frame.id, 0, frame.leaseToken);
      return null;
  }
}

function addResult(batch: SettleBatch, frame: SettleFrame): QueueError | null {
  const { buffer, resultFrom, resultTo, textFrom, textTo } = frame;
  if (resultTo - resultFrom > limits.resultBytes || textTo - textFrom > limits.resultBytes) {
    const text = `result_json: over ${limits.resultBytes} bytes, or the error is`;
    return new QueueError("payload_too_large", text, { field: "result_json" });
  }
  const result = resultTo > resultFrom ? buffer.subarray(resultFrom, resultTo) : null;
  switch (frame.status) {
    case "COMPLETED":
      batch.complete(frame.id, 0, frame.leaseToken, result);
      return null;
    case "FAILED":
      batch.fail(frame.id, 0, frame.leaseToken, buffer.subarray(textFrom, textTo), result);
      return null;
    case "other":
      return new QueueError("invalid_argument", "status: COMPLETED or FAILED", { field: "status" });
  }
}

function addNack(batch: SettleBatch, frame: SettleFrame): QueueError | null {
  if (frame.seconds > limits.delaySecondsMax && !frame.immediate) {
    const text = `delay_seconds: at most ${limits.delaySecondsMax}`;
    return new QueueError("invalid_argument", text, { field: "delay_seconds" });
  }
  const byPolicy = frame.seconds <= 0 ? -1 : frame.seconds * 1000;
  const delayMs = frame.immediate ? 0 : byPolicy;
  const reason = frame.buffer.toString("utf8", frame.textFrom, reasonEnd(frame));
  batch.nack(frame.id, 0, frame.leaseToken, delayMs, reason);
  return null;
}

/** A reason is cut to its bound, between two characters: no nack fails for it. */
function reasonEnd(frame: SettleFrame): number {
  let end = Math.min(frame.textTo, frame.textFrom + limits.reasonBytes);
  if (end === frame.textTo) return end;
  while (((frame.buffer[end] as number) & 0xc0) === 0x80) end--;
  return end;
}
