/**
 * What every request must pass before its route sees it: the form of its target and of the headers
 * that decide something, and whether the node still takes requests (FAULTS 5.1).
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { type HttpContext, markAnswer } from "./context.ts";

const hostForm = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/u;

/** Paths that are answered while the node drains: those who watch it must see it. */
const watched = new Set(["/healthz", "/livez", "/readyz", "/health", "/metrics"]);

export function guardRequests(app: FastifyInstance, context: HttpContext): void {
  const { clock } = context.deps;
  app.addHook("onRequest", (request, reply, done) => {
    request.startedMs = clock.monotonicMs();
    markAnswer(request, reply);
    if (context.isDraining && !watched.has(request.url.replace(/\?.*$/su, ""))) {
      reply.header("connection", "close");
      throw new QueueError("draining", "the node is stopping");
    }
    checkTarget(request);
    checkHeaders(request);
    done();
  });
}

function checkTarget(request: FastifyRequest): void {
  // Absolute form is for proxies, which this is not.
  if (!request.url.startsWith("/")) {
    throw new QueueError("invalid_argument", "the request target must be a path");
  }
}

/** One walk over the raw headers; Node's own view has dropped or joined repeated ones. */
function checkHeaders(request: FastifyRequest): void {
  const { rawHeaders, httpVersionMinor } = request.raw;
  if (rawHeaders.length > 2 * limits.httpHeaders) {
    throw new QueueError("headers_too_large", `more than ${limits.httpHeaders} headers`);
  }
  let hosts = 0;
  let authorizations = 0;
  let keys = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    switch (name.length) {
      case 4:
        if (name.toLowerCase() === "host") hosts++;
        break;
      case 13:
        if (name.toLowerCase() === "authorization") authorizations++;
        break;
      case 15:
        if (name.toLowerCase() === "idempotency-key") keys++;
        break;
      case 16:
        if (name.toLowerCase() === "content-encoding") checkEncoding(rawHeaders[i + 1] as string);
        break;
    }
  }
  const host = request.headers.host;
  if (hosts > 1 || (host === undefined ? httpVersionMinor > 0 : !hostForm.test(host))) {
    throw new QueueError("invalid_argument", "exactly one valid Host header is required");
  }
  if (authorizations > 1) {
    throw new QueueError("unauthenticated", "more than one Authorization header");
  }
  if (keys > 1) {
    const detail = { field: "Idempotency-Key" };
    throw new QueueError("invalid_argument", "Idempotency-Key appears twice", detail);
  }
}

function checkEncoding(encoding: string): void {
  if (encoding.toLowerCase() !== "identity") {
    throw new QueueError("unsupported_media_type", "Content-Encoding is not supported");
  }
}

/** The token of `Authorization: Bearer <token>`; null if there is no such header. */
export function bearerToken(request: FastifyRequest): string | null {
  const { authorization } = request.headers;
  if (authorization === undefined) return null;
  const found = /^Bearer +([\x21-\x7e]+)$/iu.exec(authorization);
  return found?.[1] ?? null;
}
