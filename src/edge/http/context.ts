/**
 * What the parts of the HTTP edge share: the objects they were given, and the state of the server.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { createEdgeLogs, type EdgeLogs } from "../../api/bounded-log.ts";
import { JsonReader } from "../../api/json-reader.ts";
import type { Dialect } from "../../api/schema.ts";
import { toHttpError } from "../../api/wire-errors.ts";
import type { Authenticator, Identity } from "../../auth/authenticator.ts";
import type { Clock, Logger, Metrics, Random, Timers } from "../../base/effects.ts";
import type { QueueError } from "../../base/errors.ts";
import type { Admin } from "../../router/admin.ts";
import type { MembersAdmin } from "../../router/members.ts";
import type { Router } from "../../router/router.ts";

export interface HttpDeps {
  readonly router: Router;
  readonly admin: Admin;
  /** Changes of the cluster; null where the node runs alone. */
  readonly members: MembersAdmin | null;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Prometheus' text, for one scrape. */
  readonly renderMetrics: () => Promise<string>;
}

export interface HttpOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  readonly nodeId: string;
  /** Of the program. */
  readonly version: string;
  /** Bytes of one payload, up to limits.payloadBytesMax. */
  readonly payloadBytes: number;
  /** Bytes of the body of a batch route. */
  readonly bodyBytes: number;
  /** For creates and claims that do not say. */
  readonly maxAttemptsDefault: number;
  readonly leaseSecondsDefault: number;
  /** Origins whose pages may read answers (CORS), or `*`; none by default. */
  readonly corsOrigins: readonly string[];
  /** Ms from which on a request is logged as slow. */
  readonly slowMs: number;
  /** Where they differ from base/limits.ts. */
  readonly bounds?: Partial<HttpBounds>;
}

export interface HttpBounds {
  readonly connections: number;
  /** Ms for the header block, for the whole request, and between the checks of both. */
  readonly headersMs: number;
  readonly requestMs: number;
  readonly checkMs: number;
}

export interface HttpContext {
  readonly deps: HttpDeps;
  readonly options: HttpOptions;
  readonly reader: JsonReader;
  readonly logs: EdgeLogs;
  readonly startedMs: number;
  /** Reads that wait for a result; ended when the node drains. */
  readonly waits: Set<AbortController>;
  /** True from `drain` on: new requests are refused. */
  isDraining: boolean;
}

export function createHttpContext(deps: HttpDeps, options: HttpOptions): HttpContext {
  const seed = Buffer.alloc(4);
  deps.random.fill(seed);
  return {
    deps,
    options,
    reader: new JsonReader(seed.readInt32BE(0)),
    logs: createEdgeLogs(deps),
    startedMs: deps.clock.monotonicMs(),
    waits: new Set(),
    isDraining: false,
  };
}

/** A request of a route that asks for a token, as its handler sees it. */
export interface Call {
  readonly identity: Identity;
  readonly dialect: Dialect;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Who asks; set before the body is read on every route that wants a token. */
    identity: Identity | null;
    startedMs: number;
    /** How long the request asked to wait: that long it is not slow. */
    waitMs: number;
  }
}

const jsonType = "application/json; charset=utf-8";

/** Answers with a JSON text. */
export function sendJson(reply: FastifyReply, status: number, text: string): void {
  reply.code(status).header("content-type", jsonType).send(text);
}

/** What every answer has, those to requests that no hook has seen as well. */
export function markAnswer(request: FastifyRequest, reply: FastifyReply): void {
  // Answers tell of a state that changes, some of them of secrets: nobody may keep them.
  reply.header("cache-control", "no-store");
  // the name of the request in the log
  reply.header("x-request-id", request.id);
}

/** Answers with an error's status, headers and body, and logs that, without what was sent. */
export function sendError(context: HttpContext, call: ErrorCall, error: QueueError): void {
  const { request, reply, allow } = call;
  const answer = toHttpError(error, {
    requestId: request.id,
    url: request.url,
    ...(allow === undefined ? {} : { allow }),
  });
  const fields = {
    requestId: request.id,
    method: request.method,
    route: request.routeOptions.url ?? "none",
    code: error.code,
    from: request.ip,
    ...(request.identity && { subject: request.identity.subject, tenant: request.identity.tenant }),
  };
  if (error.code === "internal") {
    const { cause } = error;
    const text = cause instanceof Error ? (cause.stack ?? cause.message) : error.message;
    context.deps.logger.error("request failed", { ...fields, error: text });
  } else {
    context.logs.refusals.note("request refused", fields);
  }
  if (context.isDraining) reply.header("connection", "close");
  markAnswer(request, reply);
  reply.headers(answer.headers);
  sendJson(reply, answer.status, answer.body);
}

export interface ErrorCall {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly allow?: string;
}

/** Whether nobody is there any more to read an answer. */
export function isGone(reply: FastifyReply): boolean {
  return reply.raw.destroyed || reply.raw.socket?.destroyed !== false;
}
