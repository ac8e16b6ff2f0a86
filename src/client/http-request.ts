/** One request over HTTP: tries at endpoints in turn, waits between them, one deadline. */
import { limits } from "../base/limits.ts";
import { backoffMs } from "./backoff.ts";
import { errorOfAck, isErrorCode, QuorumQError } from "./errors.ts";
import { fieldOf } from "./http-json.ts";
import type { HttpMethod, HttpSender, HttpTry } from "./http-send.ts";
import { leavesDoubt, nextTry } from "./retry.ts";
import type { ClientEffects } from "./system.ts";

/** What every call over HTTP takes beside its own options. */
export interface CallOptions {
  /** Ms that the call may take, retries included, beside the time it waits; default the client's. */
  readonly timeoutMs?: number;
  /**
   * Gives the call up: it rejects with the signal's reason. What was sent may have been done.
   */
  readonly signal?: AbortSignal;
}

export interface HttpDeps {
  readonly effects: ClientEffects;
  readonly sender: HttpSender;
  /** Default of the calls. */
  readonly timeoutMs: number;
}

export interface HttpRequest {
  readonly method: HttpMethod;
  /** With the query, from the root on. */
  readonly path: string;
  /** JSON text; absent = none */
  readonly body?: string;
  /**
   * Doing it twice does no harm. What is not repeatable and may have been done is told as
   * `unknown_outcome` and not sent again.
   */
  readonly isRepeatable: boolean;
  /** It changes something: out of time, it may have happened. */
  readonly changes: boolean;
  /** Ms that the server itself may wait or work before it answers; default 0. */
  readonly serverMs?: number;
}

/** Sends the requests of one client, first to the node that answered last. */
export class HttpRequester {
  private readonly deps: HttpDeps;
  /** The base URL that answered last; null = unknown, or it failed. */
  private preferred: string | null = null;

  constructor(deps: HttpDeps) {
    this.deps = deps;
  }

  get clock(): ClientEffects["clock"] {
    return this.deps.effects.clock;
  }

  /** When a call that begins now ends without an answer, monotonic ms. */
  deadlineOf(options: CallOptions, serverMs = 0): number {
    return this.clock.monotonicMs() + (options.timeoutMs ?? this.deps.timeoutMs) + serverMs;
  }

  /**
   * @returns the body of a 2xx answer, parsed
   * @throws QuorumQError with the server's code; `timeout` when the time is up and nothing was
   * done, `unknown_outcome` when it may have been; the signal's reason
   */
  async request(request: HttpRequest, options: CallOptions): Promise<unknown> {
    const deadlineMs = this.deadlineOf(options, request.serverMs);
    let last: QuorumQError | undefined;
    let isInDoubt = false;
    for (let tries = 0; this.clock.monotonicMs() < deadlineMs; tries++) {
      const answer = await this.try(tries, request, { deadlineMs, signal: options.signal });
      options.signal?.throwIfAborted();
      if (answer.kind === "answered" && answer.status >= 200 && answer.status < 300) {
        if (answer.base !== "") this.preferred = answer.base;
        return answer.body;
      }
      last = errorOf(answer);
      isInDoubt ||= request.changes && leavesDoubt(last.code);
      const { isRepeatable } = request;
      const next = nextTry({ code: last.code, tries: tries + 1, isRepeatable });
      if (next === "give up") throw last;
      this.preferred = null;
      const round = Math.floor(tries / this.deps.sender.endpoints.length);
      const pauseMs = Math.max(
        backoffMs(round, this.deps.effects.random),
        next === "later" ? askedPauseMs(answer, last) : 0,
      );
      if (this.clock.monotonicMs() + pauseMs >= deadlineMs) break;
      await this.pause(pauseMs, options.signal);
    }
    const cause = { cause: last };
    if (isInDoubt) {
      const said = `no answer in time, it may have happened: ${last?.message ?? ""}`;
      throw new QuorumQError("unknown_outcome", said, cause);
    }
    throw new QuorumQError("timeout", `no answer in time: ${last?.message ?? ""}`, cause);
  }

  /** One try at one place, whatever it answers. @throws the signal's reason */
  async tryAt(base: string | null, path: string, options: CallOptions): Promise<HttpTry> {
    const { sender } = this.deps;
    const place = base ?? this.preferred ?? sender.endpoints[0] ?? "";
    const { signal } = options;
    const endMs = this.deadlineOf(options);
    const answer = await sender.try(place, { method: "GET", path, endMs, signal });
    signal?.throwIfAborted();
    return answer;
  }

  /** Waits. @throws the signal's reason */
  async pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        timer.cancel();
        signal?.removeEventListener("abort", finish);
        resolve();
      };
      const timer = this.deps.effects.timers.after(delayMs, finish);
      signal?.addEventListener("abort", finish);
    });
    signal?.throwIfAborted();
  }

  private try(
    tries: number,
    request: HttpRequest,
    bounds: { readonly deadlineMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<HttpTry> {
    const { endpoints } = this.deps.sender;
    const base = this.preferred ?? endpoints[tries % endpoints.length] ?? "";
    // A node that hangs is given up for another one, where asking twice does no harm.
    const patienceMs = limits.clientAckMs + (request.serverMs ?? 0);
    const endMs = request.isRepeatable
      ? Math.min(bounds.deadlineMs, this.clock.monotonicMs() + patienceMs)
      : bounds.deadlineMs;
    const { method, path, body } = request;
    return this.deps.sender.try(base, { method, path, body, endMs, signal: bounds.signal });
  }
}

/** What Retry-After asks for. An election is over sooner than its whole seconds can say. */
function askedPauseMs(answer: HttpTry, { code }: QuorumQError): number {
  return answer.kind === "answered" && code !== "no_leader" ? answer.retryAfterMs : 0;
}

/** The error of a try that brought no 2xx. */
export function errorOf(answer: HttpTry): QuorumQError {
  if (answer.kind === "answered") return errorOfBody(answer.status, answer.body);
  const { cause, kind } = answer;
  const said = cause instanceof Error ? cause.message : String(cause);
  return new QuorumQError(kind === "unsent" ? "draining" : "unknown_outcome", said, { cause });
}

/** The error that a body, or an item of a batch, tells. */
export function errorOfBody(status: number, body: unknown): QuorumQError {
  const code = fieldOf(body, "code");
  const message = fieldOf(body, "error");
  const known = typeof code === "string" && isErrorCode(code) ? code : codeOfStatus(status);
  return errorOfAck({
    code: known,
    message: typeof message === "string" ? message : `HTTP ${status}`,
    field: nonEmpty(fieldOf(body, "field")),
    requestId: nonEmpty(fieldOf(body, "requestId")),
  });
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** For answers that no node of ours gave: a proxy's, mostly. */
function codeOfStatus(status: number): string {
  switch (status) {
    case 307:
      return "not_leader";
    case 401:
      return "unauthenticated";
    case 403:
      return "permission_denied";
    case 404:
      return "not_found";
    case 413:
      return "payload_too_large";
    case 429:
      return "rate_limited";
    case 503:
      return "draining";
    // The node may have got it: the proxy only saw no answer.
    case 502:
    case 504:
      return "unknown_outcome";
    default:
      return status >= 500 ? "internal" : "invalid_argument";
  }
}
