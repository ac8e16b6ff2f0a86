/** Counts requests by class of status, measures their time, and logs the slow ones. */
import type { FastifyInstance } from "fastify";
import type { Counter } from "../../base/effects.ts";
import type { HttpContext } from "./context.ts";

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function watchRequests(app: FastifyInstance, context: HttpContext): void {
  const { metrics, clock } = context.deps;
  const classes: Counter[] = [];
  for (let i = 1; i <= 5; i++) {
    const labels = { class: `${i}xx` };
    classes[i] = metrics.counter("quorumq_http_requests_total", "Requests answered", labels);
  }
  const seconds = metrics.histogram(
    "quorumq_http_request_seconds",
    "Time from a request's headers to its answer, without those that wait for work or results",
    buckets,
  );
  app.addHook("onResponse", (request, reply, done) => {
    classes[Math.floor(reply.statusCode / 100)]?.add(1);
    const ms = clock.monotonicMs() - request.startedMs;
    if (request.waitMs === 0) seconds.observe(ms / 1000);
    if (ms - request.waitMs > context.options.slowMs) {
      const route = request.routeOptions.url ?? "none";
      const fields = { requestId: request.id, route, status: reply.statusCode };
      context.logs.slow.note("slow request", { ...fields, ms: Math.round(ms) });
    }
    done();
  });
}
