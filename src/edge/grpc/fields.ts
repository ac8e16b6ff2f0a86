/** Checks of what clients send, field by field; numbers are clamped over gRPC (SPEC section 7). */
import type { CreateFrame } from "../../api/create-coder.ts";
import { QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { NewTask, TaskExtras } from "../../router/router.ts";

/** A NewTask that is filled anew for every task of a stream. */
export type TaskDraft = { -readonly [Field in keyof NewTask]: NewTask[Field] };

export interface CreateRules {
  /** Bytes of one payload. */
  readonly payloadBytes: number;
  /** 1..1000, for tasks that name none. */
  readonly maxAttempts: number;
}

export function createDraft(): TaskDraft {
  return {
    queue: "",
    priority: 0,
    maxAttempts: 1,
    delayMs: 0,
    runAtMs: 0,
    extras: null,
    idempotencyKey: null,
  };
}

/**
 * Fills the draft from the task under the frame's cursor.
 * @param nowMs - wall clock
 * @returns why the task is refused, or null
 */
export function fillDraft(
  draft: TaskDraft,
  frame: CreateFrame,
  rules: CreateRules,
  nowMs: number,
): QueueError | null {
  // The queue's text is the same object for a whole frame: its check costs one comparison then.
  if (frame.queue !== draft.queue || frame.queue === "") {
    if (!isQueueName(frame.queue)) return refuse("command", "a name of 1..128 of A-Za-z0-9._:-");
    draft.queue = frame.queue;
  }
  if (frame.payloadTo - frame.payloadFrom > rules.payloadBytes) {
    const text = `payload: over ${rules.payloadBytes} bytes`;
    return new QueueError("payload_too_large", text, { field: "payload" });
  }
  draft.priority = clamp(frame.priority, 0, limits.priorityMax);
  const { maxAttempts } = frame;
  draft.maxAttempts =
    maxAttempts <= 0 ? rules.maxAttempts : Math.min(maxAttempts, limits.maxAttemptsMax);
  return fillTimes(draft, frame, nowMs) ?? fillTexts(draft, frame);
}

function fillTimes(draft: TaskDraft, frame: CreateFrame, nowMs: number): QueueError | null {
  draft.delayMs = 0;
  draft.runAtMs = 0;
  if (frame.runAtMs >= 0) {
    const isFar = frame.runAtMs > nowMs + limits.delaySecondsMax * 1000;
    if (isFar) return refuse("run_at", "at most ten years from now");
    // 0 stands for none in the port; the first moment of 1970 is as much over as any.
    draft.runAtMs = Math.max(1, frame.runAtMs);
  } else if (frame.delaySeconds > 0) {
    if (frame.delaySeconds > limits.delaySecondsMax) {
      return refuse("delay_seconds", `at most ${limits.delaySecondsMax}`);
    }
    draft.delayMs = frame.delaySeconds * 1000;
  }
  return null;
}

function fillTexts(draft: TaskDraft, frame: CreateFrame): QueueError | null {
  const { idempotencyKey, webhook, traceParent, traceState } = frame;
  draft.idempotencyKey = idempotencyKey === "" ? null : idempotencyKey;
  draft.extras = null;
  if (idempotencyKey !== "" && Buffer.byteLength(idempotencyKey) > limits.idempotencyKeyBytes) {
    return refuse("idempotency_key", `at most ${limits.idempotencyKeyBytes} bytes`);
  }
  if (webhook === "" && traceParent === "" && traceState === "") return null;
  const extras: { -readonly [Field in keyof TaskExtras]: TaskExtras[Field] } = {};
  if (webhook !== "") {
    if (webhook.length > limits.webhookChars || !/^https?:\/\/[\x21-\x7e]+$/u.test(webhook)) {
      return refuse("webhook", `an http or https URL of at most ${limits.webhookChars} characters`);
    }
    extras.webhook = webhook;
  }
  if (traceParent !== "") {
    if (!isPrintable(traceParent, limits.traceParentChars)) {
      return refuse("trace_parent", `at most ${limits.traceParentChars} printable characters`);
    }
    extras.traceParent = traceParent;
  }
  if (traceState !== "") {
    if (!isPrintable(traceState, limits.traceStateChars)) {
      return refuse("trace_state", `at most ${limits.traceStateChars} printable characters`);
    }
    extras.traceState = traceState;
  }
  draft.extras = extras;
  return null;
}

function refuse(field: string, rule: string): QueueError {
  return new QueueError("invalid_argument", `${field}: ${rule}`, { field });
}

function isPrintable(text: string, charsMax: number): boolean {
  return text.length <= charsMax && /^[\x20-\x7e]+$/u.test(text);
}

/** `[A-Za-z0-9._:-]{1,128}` */
export function isQueueName(name: string): boolean {
  return /^[A-Za-z0-9._:-]{1,128}$/u.test(name);
}

/** 1..128 characters, none of them a control character. */
export function isWorkerId(text: string): boolean {
  if (text.length === 0 || text.length > limits.workerIdChars) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  return !/[\x00-\x1f\x7f]/u.test(text);
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
