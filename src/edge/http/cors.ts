/**
 * Which pages of other origins a browser lets read our answers (Fetch standard, CORS protocol). Off
 * unless origins are configured. Cookies are never asked for: tokens travel in Authorization.
 */
import type { FastifyInstance } from "fastify";

const allowedHeaders = "authorization, content-type, idempotency-key";
const exposedHeaders = "location, retry-after, www-authenticate, x-request-id";
/** Seconds that a browser may keep the answer to a preflight. */
const preflightSeconds = "600";

/** @param origins - as browsers write them (`https://host:port`), or `*` for all */
export function allowOrigins(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  const isForAll = origins.includes("*");
  app.addHook("onRequest", (request, reply, done) => {
    // The answer depends on it: no cache may give it to another origin.
    if (!isForAll) reply.header("vary", "origin");
    const { origin } = request.headers;
    if (origin === undefined || !(isForAll || origins.includes(origin))) return done();
    reply.header("access-control-allow-origin", isForAll ? "*" : origin);
    reply.header("access-control-expose-headers", exposedHeaders);
    const isPreflight = request.headers["access-control-request-method"] !== undefined;
    if (request.method !== "OPTIONS" || !isPreflight) return done();
    reply.header("access-control-allow-methods", "GET, POST");
    reply.header("access-control-allow-headers", allowedHeaders);
    reply.header("access-control-max-age", preflightSeconds);
    reply.code(204).send();
  });
}
