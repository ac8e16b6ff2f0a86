/** The SDK's one error class, and what a handler throws to end its task in a special way. */
import { type ErrorCode, errorCodes, type LeaderHint } from "../base/errors.ts";

/**
 * A code of the server's table (SPEC section 6), or one of the SDK's own:
 * `closed` = the producer or worker was closed, `canceled` = so was the task under its handler.
 */
export type ClientErrorCode = ErrorCode | "closed" | "canceled";

export interface QuorumQErrorDetail {
  readonly cause?: unknown;
  /** Where the leader is, for not_leader. */
  readonly leader?: LeaderHint | undefined;
  /** The request's field that broke the rule, where the server named it (HTTP). */
  readonly field?: string | undefined;
  /** Under which the server's log tells of the request (HTTP). */
  readonly requestId?: string | undefined;
}

/**
 * Every failure that the SDK reports. Match `code`, never the text.
 *
 * @example
 * try {
 *   await producer.enqueue("mail", { to: "a@b.c" });
 * } catch (error) {
 *   if (error instanceof QuorumQError && error.code === "unknown_outcome") await retryWithKey();
 *   else throw error;
 * }
 */
export class QuorumQError extends Error {
  override readonly name = "QuorumQError";
  readonly code: ClientErrorCode;
  readonly leader: LeaderHint | undefined;
  readonly field: string | undefined;
  readonly requestId: string | undefined;

  constructor(code: ClientErrorCode, text: string, detail: QuorumQErrorDetail = {}) {
    super(text, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.leader = detail.leader;
    this.field = detail.field;
    this.requestId = detail.requestId;
  }
}

/** Whether the text is a code of the server's table. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}

/** The error of an ack; codes that this version does not know count as `internal`. */
export function errorOfAck(
  ack: { readonly code: string; readonly message: string } & Omit<QuorumQErrorDetail, "cause">,
): QuorumQError {
  const { message, leader, field, requestId } = ack;
  const code = isErrorCode(ack.code) ? ack.code : "internal";
  return new QuorumQError(code, message === "" ? code : message, { leader, field, requestId });
}

/**
 * Thrown by a handler: the task has failed for good and is not tried again.
 *
 * @example throw new FailTask("no such account", { result: { account: 7 } });
 */
export class FailTask extends Error {
  override readonly name = "FailTask";
  /** JSON value or bytes kept with the failure; undefined = none. */
  readonly result: unknown;

  constructor(
    reason: string,
    options: { readonly result?: unknown; readonly cause?: unknown } = {},
  ) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause });
    this.result = options.result;
  }
}

/**
 * Thrown by a handler: try the task again after a time of the handler's choice, or put it into the
 * dead letters when this was its last attempt.
 *
 * @example throw new RetryTask("rate limit of the mail provider", { delaySeconds: 60 });
 */
export class RetryTask extends Error {
  override readonly name = "RetryTask";
  /** Whole seconds are kept, parts are rounded up; 0 = at once. Absent: the server's backoff. */
  readonly delaySeconds: number | undefined;

  constructor(
    reason: string,
    options: { readonly delaySeconds?: number; readonly cause?: unknown } = {},
  ) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause });
    this.delaySeconds = options.delaySeconds;
  }
}
