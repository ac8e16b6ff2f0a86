/** Lookups and cancels over HTTP: what the streams have no events for. */
import { QuorumQError } from "./errors.ts";
import { fieldOf, type HttpDeps, requestJson } from "./http-request.ts";
import { type ClientEffects, createClientEffects } from "./system.ts";

export interface HttpClientOptions {
  /** Base URLs, "http://host:port" (default port 8080): one, several with commas, or a list. */
  readonly endpoints: string | readonly string[];
  /** The token's text; absent for a server without authentication. */
  readonly token?: string;
  /** Ms that a call may take, retries included, beside the time it waits for a result; 30,000. */
  readonly timeoutMs?: number;
  /** Clock, timers and random numbers; the process's own if absent. */
  readonly effects?: ClientEffects;
}

/** A task as it is now (README, HTTP reference). Absent strings are undefined. */
export interface TaskRecord {
  readonly id: string;
  readonly queue: string;
  /** The JSON value; undefined where the bytes are not JSON (`payloadBase64` then has them). */
  readonly payload: unknown;
  readonly payloadBase64: string | undefined;
  readonly priority: number;
  readonly state: string;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly tenant: string;
  readonly workerId: string | undefined;
  /** RFC 3339, as all times here. */
  readonly leaseUntil: string | undefined;
  readonly runAt: string | undefined;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly error: string | undefined;
}

/** How a task ended. */
export interface ResultRecord {
  readonly status: "COMPLETED" | "FAILED";
  readonly result: unknown;
  readonly error: string | undefined;
  readonly completedAt: string;
}

export interface HttpClient {
  /** @throws QuorumQError not_found, timeout … */
  getTask(id: string): Promise<TaskRecord>;
  /**
   * The task, and its result once it has ended; null until then.
   * @param options.waitSeconds - wait so long for the end, 0..60; default 0
   * @throws QuorumQError not_found, timeout …
   */
  getResult(
    id: string,
    options?: { readonly waitSeconds?: number },
  ): Promise<{ readonly task: TaskRecord; readonly result: ResultRecord | null }>;
  /**
   * Cancels a task that has not ended; its worker is told.
   * @throws QuorumQError not_found, already_settled, timeout …
   */
  cancel(id: string): Promise<TaskRecord>;
}

/**
 * Creates a client for lookups; it holds no connection of its own.
 *
 * @example
 * const http = createHttpClient({ endpoints: "http://127.0.0.1:8080", token: process.env.TOKEN });
 * const { result } = await http.getResult(id, { waitSeconds: 30 });
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const timeoutMs = options.timeoutMs ?? 30_000;
  const deps: HttpDeps = {
    effects: options.effects ?? createClientEffects(),
    endpoints: parseUrls(options.endpoints),
    token: options.token ?? "",
  };
  return {
    async getTask(id) {
      return taskOf(await requestJson(deps, { method: "GET", path: taskPath(id), timeoutMs }));
    },
    async getResult(id, { waitSeconds = 0 } = {}) {
      const path = `${taskPath(id)}/result?waitSeconds=${waitSeconds}`;
      const waiting = timeoutMs + waitSeconds * 1000;
      const body = await requestJson(deps, { method: "GET", path, timeoutMs: waiting });
      return { task: taskOf(fieldOf(body, "task")), result: resultOf(fieldOf(body, "result")) };
    },
    async cancel(id) {
      const path = `${taskPath(id)}/cancel`;
      return taskOf(await requestJson(deps, { method: "POST", path, timeoutMs }));
    },
  };
}

function parseUrls(endpoints: string | readonly string[]): readonly string[] {
  const texts = typeof endpoints === "string" ? endpoints.split(",") : endpoints;
  const urls = texts.map((text) => {
    const trimmed = text.trim();
    if (!/^https?:\/\//u.test(trimmed) || !URL.canParse(trimmed)) {
      throw new QuorumQError("invalid_argument", `endpoints: "${trimmed}" is not an http URL`);
    }
    return trimmed.replace(/\/+$/u, "");
  });
  if (urls.length === 0) throw new QuorumQError("invalid_argument", "endpoints: none given");
  return urls;
}

function taskPath(id: string): string {
  return `/v1/tasks/${encodeURIComponent(id)}`;
}

function taskOf(body: unknown): TaskRecord {
  return {
    id: text(body, "id"),
    queue: text(body, "command"),
    payload: fieldOf(body, "payload"),
    payloadBase64: maybeText(body, "payloadBase64"),
    priority: number(body, "priority"),
    state: text(body, "state"),
    attempts: number(body, "attempts"),
    maxAttempts: number(body, "maxAttempts"),
    tenant: text(body, "tenantId"),
    workerId: maybeText(body, "workerId"),
    leaseUntil: maybeText(body, "leaseUntil"),
    runAt: maybeText(body, "runAt"),
    createdAt: text(body, "createdAt"),
    updatedAt: text(body, "updatedAt"),
    error: maybeText(body, "error"),
  };
}

function resultOf(body: unknown): ResultRecord | null {
  if (body === undefined || body === null) return null;
  return {
    status: text(body, "status") === "COMPLETED" ? "COMPLETED" : "FAILED",
    result: fieldOf(body, "result"),
    error: maybeText(body, "error"),
    completedAt: text(body, "completedAt"),
  };
}

function text(body: unknown, name: string): string {
  const value = fieldOf(body, name);
  if (typeof value === "string") return value;
  throw new QuorumQError("internal", `the answer has no ${name}`);
}

function maybeText(body: unknown, name: string): string | undefined {
  const value = fieldOf(body, name);
  return typeof value === "string" && value !== "" ? value : undefined;
}

function number(body: unknown, name: string): number {
  const value = fieldOf(body, name);
  if (typeof value === "number") return value;
  throw new QuorumQError("internal", `the answer has no ${name}`);
}
