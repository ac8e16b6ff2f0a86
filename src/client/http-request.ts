/**
 * One request over HTTP: endpoints in turn, redirects by hand, waits between tries, one deadline.
 *
 * Redirects are not left to fetch, which drops `Authorization` on the way to another host (WHATWG
 * fetch, "HTTP-redirect fetch"). The token goes along to configured endpoints and to addresses that
 * the cluster itself lists as members, and to nobody else.
 */
import { limits } from "../base/limits.ts";
import { backoffMs } from "./backoff.ts";
import { errorOfAck, isErrorCode, QuorumQError } from "./errors.ts";
import type { ClientEffects } from "./system.ts";

export interface HttpDeps {
  readonly effects: ClientEffects;
  /** Base URLs without a slash at the end, 1 or more. */
  readonly endpoints: readonly string[];
  /** "" = none */
  readonly token: string;
}

export interface HttpRequest {
  readonly method: "GET" | "POST";
  /** With the query, from `/v1` on. Sending it twice must do no harm. */
  readonly path: string;
  readonly timeoutMs: number;
}

interface Answer {
  readonly status: number;
  readonly location: string | null;
  readonly retryAfterMs: number;
  readonly body: unknown;
}

/**
 * @returns the body of a 2xx answer, parsed
 * @throws QuorumQError with the server's code; `timeout` when the time is up
 */
export async function requestJson(deps: HttpDeps, request: HttpRequest): Promise<unknown> {
  const { clock, random, timers } = deps.effects;
  const deadlineMs = clock.monotonicMs() + request.timeoutMs;
  let last: QuorumQError | undefined;
  for (let tries = 0; clock.monotonicMs() < deadlineMs; tries++) {
    const endpoint = deps.endpoints[tries % deps.endpoints.length] ?? "";
    const answer = await follow(deps, `${endpoint}${request.path}`, request.method, deadlineMs);
    if (!(answer instanceof QuorumQError)) {
      if (answer.status >= 200 && answer.status < 300) return answer.body;
      last = errorOfBody(answer);
      if (!canPass(answer.status)) throw last;
    } else {
      last = answer;
    }
    const retryAfterMs = answer instanceof QuorumQError ? 0 : answer.retryAfterMs;
    const round = Math.floor(tries / deps.endpoints.length);
    const delayMs = Math.max(backoffMs(round, random), retryAfterMs);
    if (clock.monotonicMs() + delayMs >= deadlineMs) break;
    await new Promise<void>((resolve) => {
      timers.after(delayMs, resolve);
    });
  }
  throw new QuorumQError("timeout", `no answer in time: ${last?.message ?? ""}`, { cause: last });
}

/** Whether another try may fare better: lookups and cancels do no harm twice. */
function canPass(status: number): boolean {
  return status === 307 || status === 429 || status === 502 || status === 503 || status === 504;
}

/** Sends to one endpoint and goes where it points, at most `limits.clientHops` times. */
async function follow(
  deps: HttpDeps,
  firstUrl: string,
  method: "GET" | "POST",
  deadlineMs: number,
): Promise<Answer | QuorumQError> {
  let url = new URL(firstUrl);
  let members: ReadonlySet<string> | null = null;
  let withToken = true;
  for (let hops = 0; ; hops++) {
    const answer = await send(deps, { url, method, withToken, deadlineMs });
    if (answer instanceof QuorumQError || answer.status !== 307) return answer;
    if (answer.location === null || hops === limits.clientHops) return answer;
    url = new URL(answer.location, url);
    if (!isOneOf(deps.endpoints, url)) {
      members ??= await memberOrigins(deps, firstUrl, deadlineMs);
      withToken = members.has(url.origin);
    } else {
      withToken = true;
    }
  }
}

function isOneOf(endpoints: readonly string[], url: URL): boolean {
  return endpoints.some((endpoint) => new URL(endpoint).origin === url.origin);
}

/** Where the members listen, as a configured endpoint tells it; empty when it can not. */
async function memberOrigins(
  deps: HttpDeps,
  firstUrl: string,
  deadlineMs: number,
): Promise<ReadonlySet<string>> {
  const url = new URL("/cluster/nodes", firstUrl);
  const answer = await send(deps, { url, method: "GET", withToken: false, deadlineMs });
  const origins = new Set<string>();
  const nodes = answer instanceof QuorumQError ? [] : fieldOf(answer.body, "nodes");
  for (const node of Array.isArray(nodes) ? nodes : []) {
    const http = fieldOf(node, "http");
    if (typeof http === "string" && URL.canParse(http)) origins.add(new URL(http).origin);
  }
  return origins;
}

async function send(
  deps: HttpDeps,
  request: {
    readonly url: URL;
    readonly method: "GET" | "POST";
    readonly withToken: boolean;
    readonly deadlineMs: number;
  },
): Promise<Answer | QuorumQError> {
  const { clock, timers } = deps.effects;
  const abort = new AbortController();
  const timer = timers.after(request.deadlineMs - clock.monotonicMs(), () => abort.abort());
  const authorization = request.withToken && deps.token !== "" ? `Bearer ${deps.token}` : "";
  try {
    const response = await fetch(request.url, {
      method: request.method,
      redirect: "manual",
      signal: abort.signal,
      headers: authorization === "" ? {} : { authorization },
    });
    return {
      status: response.status,
      location: response.headers.get("location"),
      retryAfterMs: Number(response.headers.get("retry-after") ?? 0) * 1000 || 0,
      body: parseBody(await response.text()),
    };
  } catch (cause) {
    return new QuorumQError("timeout", `${request.url.origin} gave no answer`, { cause });
  } finally {
    timer.cancel();
  }
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy's page, or nothing: the status then says it all.
    return null;
  }
}

function errorOfBody({ status, body }: Answer): QuorumQError {
  const code = fieldOf(body, "code");
  const message = fieldOf(body, "error");
  const text = typeof message === "string" ? message : `HTTP ${status}`;
  const known = typeof code === "string" && isErrorCode(code) ? code : codeOfStatus(status);
  return errorOfAck({ code: known, message: text });
}

/** For answers that no node of ours gave. */
function codeOfStatus(status: number): string {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "permission_denied";
  if (status === 404) return "not_found";
  return status >= 500 ? "internal" : "invalid_argument";
}

/** A field of what may be an object. */
export function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}
