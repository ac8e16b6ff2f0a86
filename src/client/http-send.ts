/**
 * One try of a request over HTTP: one endpoint, and where it points from there.
 *
 * Redirects are not left to fetch, which drops `Authorization` on the way to another host (WHATWG
 * fetch, "HTTP-redirect fetch"). The token goes along to configured endpoints and to addresses that
 * the cluster itself lists as members, and to nobody else.
 */
import { limits } from "../base/limits.ts";
import { fieldOf } from "./http-json.ts";
import type { ClientEffects } from "./system.ts";

export type HttpMethod = "GET" | "POST" | "DELETE";

/** What became of a try. */
export type HttpTry =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly retryAfterMs: number;
      /** Parsed; null when it was no JSON. */
      readonly body: unknown;
      /** The base URL that answered, if it is an endpoint or a member; else "". */
      readonly base: string;
    }
  /** It never reached a node. */
  | { readonly kind: "unsent"; readonly cause: unknown }
  /** It may have reached one: the connection broke, or the time was up. */
  | { readonly kind: "lost"; readonly cause: unknown };

export interface TryRequest {
  readonly method: HttpMethod;
  /** With the query, from the root on. */
  readonly path: string;
  /** JSON text; undefined = none */
  readonly body?: string | undefined;
  /** Monotonic ms at which the try ends without an answer. */
  readonly endMs: number;
  /** Ends the try when the caller gives up. */
  readonly signal?: AbortSignal | undefined;
}

interface Members {
  readonly origins: ReadonlySet<string>;
  readonly readMs: number;
}

/** Sends to the endpoints of one client; knows the members among the places it is pointed to. */
export class HttpSender {
  /** Base URLs without a slash at the end, 1 or more. */
  readonly endpoints: readonly string[];
  private readonly effects: ClientEffects;
  private readonly token: string;
  private members: Members | null = null;

  constructor(effects: ClientEffects, endpoints: readonly string[], token: string) {
    this.effects = effects;
    this.endpoints = endpoints;
    this.token = token;
  }

  /** Sends to a base URL and goes where it points, at most `limits.clientHops` times. */
  async try(base: string, request: TryRequest): Promise<HttpTry> {
    let url = new URL(`${base}${request.path}`);
    let place = base;
    for (let hops = 0; ; hops++) {
      const answer = await this.send(url, request, place !== "");
      if (answer.kind !== "answered") return answer;
      const { status, location } = answer;
      if (status !== 307 || location === null || hops === limits.clientHops) {
        return { ...answer, base: place };
      }
      if (!URL.canParse(location, url.href)) return { ...answer, base: place };
      url = new URL(location, url);
      place = await this.placeOf(url, base, request);
    }
  }

  /** The endpoint or member that the URL leads to; "" for a stranger. */
  private async placeOf(url: URL, base: string, request: TryRequest): Promise<string> {
    const endpoint = this.endpoints.find((one) => new URL(one).origin === url.origin);
    if (endpoint !== undefined) return endpoint;
    const nowMs = this.effects.clock.monotonicMs();
    const isFresh = this.members !== null && nowMs - this.members.readMs < limits.clientMembersMs;
    if (!isFresh || !this.members?.origins.has(url.origin)) {
      this.members = { origins: await this.memberOrigins(base, request), readMs: nowMs };
    }
    return this.members.origins.has(url.origin) ? url.origin : "";
  }

  /** Where the members listen, as one of them tells it; empty when it can not. */
  private async memberOrigins(base: string, request: TryRequest): Promise<ReadonlySet<string>> {
    const { endMs, signal } = request;
    const url = new URL("/cluster/nodes", base);
    const answer = await this.send(url, { method: "GET", path: "", endMs, signal }, false);
    const origins = new Set<string>();
    const nodes = answer.kind === "answered" ? fieldOf(answer.body, "nodes") : [];
    for (const node of Array.isArray(nodes) ? nodes : []) {
      const http = fieldOf(node, "http");
      if (typeof http === "string" && URL.canParse(http)) origins.add(new URL(http).origin);
    }
    return origins;
  }

  private async send(url: URL, request: TryRequest, withToken: boolean): Promise<Sent> {
    const { clock, timers } = this.effects;
    const { method, body, signal, endMs } = request;
    const abort = new AbortController();
    const giveUp = (): void => abort.abort();
    const timer = timers.after(endMs - clock.monotonicMs(), giveUp);
    signal?.addEventListener("abort", giveUp);
    if (signal?.aborted) giveUp();
    const headers: Record<string, string> = {};
    if (withToken && this.token !== "") headers["authorization"] = `Bearer ${this.token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    try {
      const response = await fetch(url, {
        method,
        redirect: "manual",
        signal: abort.signal,
        headers,
        ...(body === undefined ? {} : { body }),
      });
      return {
        kind: "answered",
        status: response.status,
        location: response.headers.get("location"),
        retryAfterMs: Number(response.headers.get("retry-after") ?? 0) * 1000 || 0,
        body: parseBody(await response.text()),
      };
    } catch (thrown) {
      const cause = new Error(`${url.origin} gave no answer`, { cause: thrown });
      return { kind: neverConnected(thrown) ? "unsent" : "lost", cause };
    } finally {
      timer.cancel();
      signal?.removeEventListener("abort", giveUp);
    }
  }
}

type Sent =
  | (Omit<Extract<HttpTry, { kind: "answered" }>, "base"> & { readonly location: string | null })
  | Exclude<HttpTry, { kind: "answered" }>;

/** Errors of a connection that never came about, beside those of the system call `connect`. */
const unconnected: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

function neverConnected(thrown: unknown): boolean {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  return fieldOf(cause, "syscall") === "connect" || unconnected.has(fieldOf(cause, "code"));
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy's page, or nothing: the status then says it all.
    return null;
  }
}
