/**
 * How an error looks on the wire (SPEC sections 6 and 7): HTTP status, headers and body; gRPC
 * status and the names that a ServerError carries. The codes themselves are in base/errors.ts.
 */
import { type ErrorCode, errorCodes, QueueError } from "../base/errors.ts";

/** Seconds to wait that Retry-After says when the error names none. */
const retryAfterSeconds = 1;

export interface HttpErrorContext {
  /** The id under which the log tells of this request. */
  readonly requestId: string;
  /** Path and query as the client sent them: the tail of a redirect's Location. */
  readonly url: string;
  /** Methods of this path, for method_not_allowed. */
  readonly allow?: string;
}

export interface HttpError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The JSON text {error, code, requestId, field?, leader?, shard?}. */
  readonly body: string;
}

/**
 * The answer to a request that failed. Says nothing of an `internal` error's text or cause.
 * A not_leader without the leader's address cannot be a redirect: it is told as no_leader.
 */
export function toHttpError(error: QueueError, context: HttpErrorContext): HttpError {
  const { leader, field } = error;
  const code = error.code === "not_leader" && !leader?.leaderHttp ? "no_leader" : error.code;
  const headers: Record<string, string> = {};
  const body: Record<string, string | number> = {
    error: code === "internal" ? "internal error" : error.message,
    code,
    requestId: context.requestId,
  };
  if (field !== undefined) body["field"] = field;
  if (code === "not_leader" && leader !== undefined) {
    // Only from the address the leader was configured with, never from Host (FAULTS 5.1-23).
    headers["location"] = leader.leaderHttp.replace(/\/+$/u, "") + context.url;
    body["leader"] = leader.leaderHttp;
    body["shard"] = leader.shard;
  }
  const { retry, http } = errorCodes[code];
  if (retry === "later" || retry === "elsewhere") {
    headers["retry-after"] = String(Math.ceil(error.retryAfterSeconds ?? retryAfterSeconds));
  }
  if (code === "unauthenticated") headers["www-authenticate"] = 'Bearer realm="quorumq"';
  if (code === "method_not_allowed") headers["allow"] = context.allow ?? "";
  return { status: http, headers, body: JSON.stringify(body) };
}

/** An item of a batch that failed: the JSON text {error, code, field?, …first}. */
export function itemErrorJson(error: QueueError, first: Readonly<Record<string, string>>): string {
  return JSON.stringify({
    ...first,
    error: error.code === "internal" ? "internal error" : error.message,
    code: error.code,
    ...(error.field === undefined ? {} : { field: error.field }),
  });
}

/** Numbers of gRPC's statuses (grpc/grpc doc/statuscodes.md), those that the table uses. */
const grpcNumbers = {
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** The gRPC status with which a stream or call ends for this code. */
export function grpcStatusOf(code: ErrorCode): number {
  return grpcNumbers[errorCodes[code].grpc];
}

/** What a ServerError's code says where the protocol itself is broken, as by a second Hello. */
export const failedPreconditionName = "FailedPrecondition";

/** What a ServerError's code says: the table's name in CamelCase; ErrNotLeader stands apart. */
export function serverErrorName(code: ErrorCode): string {
  if (code === "not_leader") return "ErrNotLeader";
  return code.replace(/(?:^|_)([a-z])/gu, (_, letter: string) => letter.toUpperCase());
}

/** The text of an ack or ServerError: a not_leader's begins with `ErrNotLeader`. */
export function grpcErrorText(error: QueueError): string {
  if (error.code === "internal") return "internal error";
  return error.code === "not_leader" ? `ErrNotLeader: ${error.message}` : error.message;
}

/** Anything that was thrown, as a QueueError; what is none is `internal` and keeps its cause. */
export function toQueueError(thrown: unknown): QueueError {
  if (thrown instanceof QueueError) return thrown;
  return new QueueError("internal", "internal error", { cause: thrown });
}
