/**
 * The one error table (SPEC section 6). Callers match `code`, never text.
 * A code's number is what travels inside result columns; 0 is "ok". Numbers are append-only.
 */

export interface ErrorCodeRow {
  readonly number: number;
  readonly http: number;
  /** gRPC status name, for a stream or call that ends with this code. */
  readonly grpc: string;
  /** What a client may do: never, there (at the named leader), later, other node, once, yes (with a key or token). */
  readonly retry: "never" | "there" | "later" | "elsewhere" | "once" | "yes";
}

export const errorCodes = {
  invalid_argument: { number: 1, http: 400, grpc: "INVALID_ARGUMENT", retry: "never" },
  unauthenticated: { number: 2, http: 401, grpc: "UNAUTHENTICATED", retry: "never" },
  permission_denied: { number: 3, http: 403, grpc: "PERMISSION_DENIED", retry: "never" },
  not_found: { number: 4, http: 404, grpc: "NOT_FOUND", retry: "never" },
  idempotency_conflict: { number: 5, http: 409, grpc: "ALREADY_EXISTS", retry: "never" },
  lease_lost: { number: 6, http: 409, grpc: "FAILED_PRECONDITION", retry: "never" },
  not_leader: { number: 7, http: 307, grpc: "FAILED_PRECONDITION", retry: "there" },
  payload_too_large: { number: 8, http: 413, grpc: "RESOURCE_EXHAUSTED", retry: "never" },
  rate_limited: { number: 9, http: 429, grpc: "RESOURCE_EXHAUSTED", retry: "later" },
  internal: { number: 10, http: 500, grpc: "INTERNAL", retry: "once" },
  no_leader: { number: 11, http: 503, grpc: "UNAVAILABLE", retry: "later" },
  overloaded: { number: 12, http: 503, grpc: "UNAVAILABLE", retry: "later" },
  draining: { number: 13, http: 503, grpc: "UNAVAILABLE", retry: "elsewhere" },
  unknown_outcome: { number: 14, http: 504, grpc: "ABORTED", retry: "yes" },
  method_not_allowed: { number: 15, http: 405, grpc: "UNIMPLEMENTED", retry: "never" },
  timeout: { number: 16, http: 408, grpc: "DEADLINE_EXCEEDED", retry: "yes" },
  already_settled: { number: 17, http: 409, grpc: "FAILED_PRECONDITION", retry: "never" },
  unsupported_media_type: { number: 18, http: 415, grpc: "INVALID_ARGUMENT", retry: "never" },
  headers_too_large: { number: 19, http: 431, grpc: "RESOURCE_EXHAUSTED", retry: "never" },
  insufficient_storage: { number: 20, http: 507, grpc: "RESOURCE_EXHAUSTED", retry: "later" },
} as const satisfies Record<string, ErrorCodeRow>;

export type ErrorCode = keyof typeof errorCodes;

const byNumber: readonly (ErrorCode | undefined)[] = buildNumbers();

function buildNumbers(): (ErrorCode | undefined)[] {
  const rows: (ErrorCode | undefined)[] = [];
  for (const code of Object.keys(errorCodes) as ErrorCode[]) rows[errorCodes[code].number] = code;
  return rows;
}

/** The code of a result column's number; undefined for 0 (ok) and unknown numbers. */
export function codeOfNumber(value: number): ErrorCode | undefined {
  return byNumber[value];
}

export interface QueueErrorDetail {
  /** The request field that broke the rule. */
  readonly field?: string;
  readonly cause?: unknown;
  readonly leader?: LeaderHint;
  readonly retryAfterSeconds?: number;
}

/** Where the leader of a shard is, for not_leader. */
export interface LeaderHint {
  readonly shard: number;
  readonly term: number;
  readonly leaderId: string;
  readonly leaderHttp: string;
  readonly leaderGrpc: string;
}

/** A caller's or the world's failure, with a code from the table. Bugs are InvariantErrors. */
export class QueueError extends Error {
  override readonly name = "QueueError";
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly leader: LeaderHint | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, text: string, detail: QueueErrorDetail = {}) {
    super(text, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.field = detail.field;
    this.leader = detail.leader;
    this.retryAfterSeconds = detail.retryAfterSeconds;
  }
}
