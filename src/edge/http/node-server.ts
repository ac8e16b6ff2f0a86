/** Node's own server under every server of the edge: limits, timeouts, what is no request (FAULTS 5.1). */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { Random, Timers } from "../../base/effects.ts";
import { type ErrorCode, QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { HttpBounds } from "./context.ts";
import { answerBrokenConnection, answerLast, writeRaw } from "./error-handler.ts";
import { inTurn, type RequestHandler } from "./pipeline.ts";

export interface NodeServerDeps {
  readonly random: Random;
  readonly timers: Timers;
  /** Hears of connections that were refused. */
  readonly refused: (requestId: string, code: ErrorCode) => void;
}

/** What fastify is to be given. */
export interface NodeServers {
  readonly genReqId: () => string;
  /** One per address that is listened on. */
  readonly serverFactory: (handle: RequestHandler) => Server;
}

export function createNodeServers(deps: NodeServerDeps, bounds: HttpBounds): NodeServers {
  const genReqId = createIds(deps.random);
  const refuse = (response: ServerResponse): void => {
    deps.timers.after(limits.httpPipelinedHoldMs, () => {
      const requestId = genReqId();
      const text = `over ${limits.httpPipelinedWaiting} requests wait on this connection`;
      const error = new QueueError("rate_limited", text, { retryAfterSeconds: 1 });
      if (answerLast(response, error, requestId)) deps.refused(requestId, error.code);
    });
  };
  return {
    genReqId,
    serverFactory: (handle) => {
      const server = createServer(
        {
          headersTimeout: bounds.headersMs,
          requestTimeout: bounds.requestMs,
          connectionsCheckingInterval: bounds.checkMs,
          keepAliveTimeout: limits.httpKeepAliveMs,
          maxHeaderSize: limits.httpHeaderBytes,
          // The guard checks it, and answers with our own error body.
          requireHostHeader: false,
        },
        inTurn({ handle, refuse }),
      );
      server.setTimeout(limits.httpSilenceMs);
      server.maxRequestsPerSocket = limits.httpSocketRequests;
      server.maxConnections = bounds.connections;
      // Node drops what is above: one more, so that the guard sees that there are too many.
      server.maxHeadersCount = limits.httpHeaders + 1;
      server.on("clientError", (error, socket) => {
        const requestId = genReqId();
        const code = answerBrokenConnection(error, socket, requestId);
        if (code !== null) deps.refused(requestId, code);
      });
      // Node hands it out as a socket.
      server.on("connect", (_request, socket) => {
        const error = new QueueError("method_not_allowed", "this is no proxy");
        const requestId = genReqId();
        writeRaw(socket, error, requestId, "GET, HEAD, OPTIONS, POST");
        deps.refused(requestId, error.code);
      });
      return server;
    },
  };
}

/** Ids of requests: what this process begins with, and a number. */
function createIds(random: Random): () => string {
  const prefix = Buffer.alloc(4);
  random.fill(prefix);
  const start = `${prefix.toString("hex")}-`;
  let count = 0;
  return () => start + (++count).toString(36);
}
