/** A frame of creates on its way, the form it must have, and what calls for another try. */
import type { CreateAckFrame } from "../api/client-ack-frame.ts";
import { type CreatePart, encodeCreateParts } from "../api/client-create-frame.ts";
import type { CreateAcks } from "../api/received-ack-coder.ts";
import { limits } from "../base/limits.ts";
import { type EncodedOptions, keyedGroup } from "./create-input.ts";
import { errorOfAck, QuorumQError } from "./errors.ts";
import { leavesDoubt, nextTry } from "./retry.ts";

export type FrameOutcome =
  | {
      /** Every task has its final ack; unless `areAllOk`, some were refused. */
      readonly kind: "acked";
      readonly acks: CreateAckFrame;
      /** The frame went out more than once: `duplicates` may mean its own first try. */
      readonly isResent: boolean;
    }
  /** This frame can not be sent: too large, or answered in a wrong form. */
  | { readonly kind: "failed"; readonly error: QuorumQError }
  /** The server does not take this client: the token, or a server of another kind. */
  | { readonly kind: "refused"; readonly error: QuorumQError };

/** Tasks of a frame that share their options. */
export interface StreamPart extends CreatePart {
  readonly options: EncodedOptions;
}

/** A frame on its way. */
export interface SentFrame {
  /** Whether some of its tasks may exist by now. */
  readonly mayHaveHappened: boolean;
  /** Why it waits for another try, if it does: null = not sent yet, or not answered. */
  readonly refusal: QuorumQError | null;
  /** Since when its ack is due on the present stream, monotonic ms; infinite: it is not. */
  readonly unansweredSinceMs: number;
  /** Nobody waits for it any more: it is not sent again, and `done` is not called. */
  forget(): void;
}

/**
 * A frame and what is known of it. `waiting` for a stream or a next try, or unanswered on the open
 * one.
 */
export class CreateFrame implements SentFrame {
  readonly seq: number;
  readonly count: number;
  readonly payloadBytes: number;
  readonly done: (outcome: FrameOutcome) => void;
  /** null for tasks with keys: the keys make them safe to repeat. */
  readonly runKey: Uint8Array | null;
  private readonly forgotten: (frame: CreateFrame) => void;
  private parts: readonly StreamPart[];
  /** Made when it is first sent, since only HelloAck tells the number of shards. */
  private buffer: Buffer | null = null;
  sends = 0;
  /** Passing refusals in a row on the present stream. */
  refusals = 0;
  refusal: QuorumQError | null = null;
  /** A try of it was lost without an answer, or answered in part. */
  isUncertain = false;
  unansweredSinceMs = Number.POSITIVE_INFINITY;

  constructor(
    fields: {
      readonly parts: readonly StreamPart[];
      /** Seq of the first task. */
      readonly seq: number;
      readonly runKey: Uint8Array | null;
    },
    callbacks: {
      readonly done: (outcome: FrameOutcome) => void;
      readonly forgotten: (frame: CreateFrame) => void;
    },
  ) {
    this.forgotten = callbacks.forgotten;
    this.parts = fields.parts;
    this.seq = fields.seq;
    this.runKey = fields.runKey;
    this.done = callbacks.done;
    this.count = countOf(fields.parts);
    this.payloadBytes = payloadBytesOf(fields.parts);
  }

  /** @param runId - called at most once, for a frame with a run key */
  encode(runId: (key: Uint8Array) => Uint8Array): Buffer {
    if (this.buffer === null) {
      const id = this.runKey === null ? null : runId(this.runKey);
      this.buffer = encodeCreateParts(this.parts, this.seq, id);
      this.parts = [];
    }
    return this.buffer;
  }

  get mayHaveHappened(): boolean {
    return this.isUncertain || this.isUnanswered;
  }

  get isUnanswered(): boolean {
    return this.unansweredSinceMs < Number.POSITIVE_INFINITY;
  }

  forget(): void {
    this.forgotten(this);
  }
}

/**
 * @returns whether the tasks form a run; else each has a key
 * @throws QuorumQError invalid_argument when a frame may not carry them together
 */
export function checkForm(parts: readonly StreamPart[]): boolean {
  const count = countOf(parts);
  if (count === 0 || count > limits.runTasks) {
    throw new QuorumQError(
      "invalid_argument",
      `tasks: ${count}, a frame has 1..${limits.runTasks}`,
    );
  }
  const [first] = parts;
  if (first === undefined || parts.some(({ options }) => options.group !== first.options.group)) {
    throw new QuorumQError("invalid_argument", "tasks: keys on all, or one queue and priority");
  }
  return first.options.group !== keyedGroup;
}

function countOf(parts: readonly StreamPart[]): number {
  let count = 0;
  for (const part of parts) count += part.count;
  return count;
}

function payloadBytesOf(parts: readonly StreamPart[]): number {
  let bytes = 0;
  for (const { payloads, from, count } of parts) {
    for (let i = from; i < from + count; i++) bytes += (payloads[i] as Uint8Array).length;
  }
  return bytes;
}

/**
 * The reason to send the frame again, or null when its acks are final. The whole frame goes again:
 * what was created answers as before.
 */
export function retryableRefusal(acks: CreateAcks, sends: number): QuorumQError | null {
  for (const failure of acks.failures) {
    if (failure === undefined) continue;
    const error = errorOfAck(failure);
    // Run id and keys make a frame safe to repeat.
    if (nextTry({ code: error.code, tries: sends, isRepeatable: true }) !== "give up") return error;
  }
  return null;
}

/** Whether some task of the refused frame may exist all the same. */
export function isInDoubt(acks: CreateAcks, refusal: QuorumQError): boolean {
  return acks.failures.some((failure) => failure === undefined) || leavesDoubt(refusal.code);
}
