/** What watches the node asks, at the root and without a token (SPEC section 5). */
import type { FastifyInstance } from "fastify";
import { toQueueError } from "../../../api/wire-errors.ts";
import { type HttpContext, sendError, sendJson } from "../context.ts";

export function addHealthRoutes(app: FastifyInstance, context: HttpContext): void {
  const { router, clock, renderMetrics } = context.deps;

  app.get("/livez", (_request, reply) => sendJson(reply, 200, '{"status":"ok"}'));

  app.get("/healthz", (_request, reply) => {
    const isReady = router.health().ready && !context.isDraining;
    if (!isReady) reply.header("retry-after", "1");
    sendJson(reply, isReady ? 200 : 503, `{"status":"${isReady ? "ok" : "unavailable"}"}`);
  });

  app.get("/readyz", (_request, reply) => {
    const health = router.health();
    if (health.ready && !context.isDraining) return sendJson(reply, 200, '{"status":"ready"}');
    const reason = context.isDraining ? "draining" : health.reason;
    reply.header("retry-after", "1");
    return sendJson(reply, 503, JSON.stringify({ status: "not ready", reason }));
  });

  app.get("/health", (_request, reply) => {
    const health = router.health();
    const body = {
      status: health.ready && !context.isDraining ? "ok" : "unavailable",
      node_id: context.options.nodeId,
      is_leader: health.isLeader,
      uptime_seconds: Math.floor((clock.monotonicMs() - context.startedMs) / 1000),
      shards: health.shards.map(({ shard, role, term, leaderId, commit, applied, lag }) => {
        return { shard, role, term, leader_id: leaderId, commit, applied, lag };
      }),
    };
    sendJson(reply, 200, JSON.stringify(body));
  });

  app.get("/metrics", (request, reply) => {
    renderMetrics().then(
      (text) => {
        reply.header("content-type", metricsType).send(text);
      },
      (thrown) => sendError(context, { request, reply }, toQueueError(thrown)),
    );
  });
}

/** Prometheus' text format 0.0.4. */
export const metricsType = "text/plain; version=0.0.4; charset=utf-8";
