/** The metrics on a port of their own (9091), for scrapers that shall see nothing else. */
import Fastify from "fastify";
import type { HttpDeps } from "./context.ts";
import { metricsType } from "./routes/health.ts";
import { type HttpAddress, listen, serverOptions, toBounds } from "./server.ts";

export interface MetricsServer {
  listen(): Promise<HttpAddress>;
  close(): Promise<void>;
}

/** @param options - the address; port 0 = any free one */
export function createMetricsServer(
  deps: Pick<HttpDeps, "random" | "timers" | "renderMetrics">,
  options: HttpAddress,
): MetricsServer {
  const { random, timers } = deps;
  const app = Fastify(serverOptions({ random, timers, refused: () => undefined }, toBounds()));
  app.get("/metrics", async (_request, reply) => {
    reply.headers({ "content-type": metricsType, "cache-control": "no-store" });
    return deps.renderMetrics();
  });
  return {
    listen: () => listen(app, options),
    close: () => app.close(),
  };
}
