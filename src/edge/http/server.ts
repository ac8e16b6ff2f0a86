/**
 * The HTTP edge (SPEC section 3): translation between JSON and the router, nothing else. A request
 * runs through these steps: guard → token and role → body → schema → one router call → answer.
 *
 * States: made → listening → draining (new requests get 503, waiting ones are answered) → closed.
 */
import type { Server } from "node:http";
import Fastify, { type FastifyHttpOptions, type FastifyInstance } from "fastify";
import type { ErrorCode } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { readBodies } from "./body.ts";
import {
  createHttpContext,
  type HttpBounds,
  type HttpContext,
  type HttpDeps,
  type HttpOptions,
} from "./context.ts";
import { allowOrigins } from "./cors.ts";
import { answerThrown, handleErrors } from "./error-handler.ts";
import { createNodeServers, type NodeServerDeps } from "./node-server.ts";
import { handleUnknown } from "./not-found.ts";
import { guardRequests } from "./request-guard.ts";
import { watchRequests } from "./request-metrics.ts";
import { addAdminRoutes } from "./routes/admin.ts";
import { addClaimRoutes } from "./routes/claim.ts";
import { addClusterNodes, addRaftStatus } from "./routes/cluster.ts";
import { addCreateRoutes } from "./routes/create.ts";
import { addHealthRoutes } from "./routes/health.ts";
import { addListRoutes } from "./routes/list.ts";
import { addMemberRoutes } from "./routes/members.ts";
import { addOpenApiRoute } from "./routes/openapi.ts";
import { addReadRoutes } from "./routes/read.ts";
import { addResultBatchRoute } from "./routes/result-batch.ts";
import { addSettleRoutes } from "./routes/settle.ts";
import { createRouteSet } from "./routing.ts";

export interface HttpServer {
  /** @returns the address that was bound. Rejects as listen(2) fails (EADDRINUSE …). */
  listen(): Promise<HttpAddress>;
  /** From now on new requests get 503 `draining`, except those for health and metrics. */
  drain(): void;
  /** Stops listening; resolves when all requests are answered, or after `graceMs` cuts them. */
  close(graceMs?: number): Promise<void>;
}

export interface HttpAddress {
  readonly host: string;
  readonly port: number;
}

export function createHttpServer(deps: HttpDeps, options: HttpOptions): HttpServer {
  const context = createHttpContext(deps, options);
  const app = createApp(context);
  return {
    listen: () => listen(app, options),
    drain: () => {
      context.isDraining = true;
      for (const wait of context.waits) wait.abort();
      app.server.closeIdleConnections();
    },
    close: async (graceMs = limits.httpCloseMs) => {
      context.isDraining = true;
      const cut = deps.timers.after(graceMs, () => app.server.closeAllConnections());
      await app.close();
      cut.cancel();
    },
  };
}

/** The bounds of base/limits.ts, or those given instead. */
export function toBounds(given: Partial<HttpBounds> = {}): HttpBounds {
  return {
    connections: limits.httpConnections,
    headersMs: limits.httpHeadersMs,
    requestMs: limits.httpRequestMs,
    checkMs: limits.httpCheckMs,
    ...given,
  };
}

/** What every server of the edge tells fastify (FAULTS 5.1). */
export function serverOptions(
  deps: NodeServerDeps,
  bounds: HttpBounds,
): FastifyHttpOptions<Server> {
  return {
    ...createNodeServers(deps, bounds),
    logger: false,
    bodyLimit: limits.httpEnvelopeBytes,
    forceCloseConnections: "idle",
    // The guard answers while the server closes, with our own error body.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 256 },
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        allErrors: false,
      },
    },
    // The servers themselves see to it.
    clientErrorHandler: () => undefined,
  };
}

export async function listen(app: FastifyInstance, options: HttpAddress): Promise<HttpAddress> {
  await app.listen({ host: options.host, port: options.port, backlog: 1024 });
  const address = app.server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  return { host: options.host, port };
}

function createApp(context: HttpContext): FastifyInstance {
  const bounds = toBounds(context.options.bounds);
  const { random, timers } = context.deps;
  const refused = (requestId: string, code: ErrorCode) =>
    context.logs.refusals.note("request refused", { requestId, code });
  const app = Fastify({
    ...serverOptions({ random, timers, refused }, bounds),
    frameworkErrors: (error, request, reply) => answerThrown(context, error, request, reply),
  });
  app.decorateRequest("identity", null);
  app.decorateRequest("startedMs", 0);
  app.decorateRequest("waitMs", 0);
  readBodies(app, context.options.bodyBytes);
  handleErrors(app, context);
  handleUnknown(app, context);
  guardRequests(app, context);
  allowOrigins(app, context.options.corsOrigins);
  watchRequests(app, context);
  addOpenApiRoute(app, context.options.version);
  addHealthRoutes(app, context);
  addClusterNodes(app, context, "");
  for (const dialect of ["v1", "codeq"] as const) {
    const routes = createRouteSet(app, context, dialect);
    addCreateRoutes(routes);
    addClaimRoutes(routes);
    addSettleRoutes(routes);
    addResultBatchRoute(routes);
    addReadRoutes(routes);
    addListRoutes(routes);
    addAdminRoutes(routes);
    addMemberRoutes(routes);
    addRaftStatus(routes);
    addClusterNodes(app, context, dialect === "v1" ? "/v1" : "/v1/codeq");
  }
  return app;
}
