/** What producers and workers need to reach a cluster. */
import { loadWire, type Wire } from "../api/proto.ts";
import { createEndpoints, type Endpoints, parseEndpoints } from "./endpoints.ts";
import { type ClientLogger, silentLogger } from "./logger.ts";
import { type ClientEffects, createClientEffects } from "./system.ts";

export interface ConnectOptions {
  /** gRPC addresses, "host:port" (default port 9092): one, several with commas, or a list. */
  readonly endpoints: string | readonly string[];
  /** The token's text; absent for a server without authentication. */
  readonly token?: string | undefined;
  /** Where the SDK tells of connections and of tasks' ends that went wrong; default nowhere. */
  readonly logger?: ClientLogger;
  /** Clock, timers and random numbers; the process's own if absent. */
  readonly effects?: ClientEffects;
  /** Compiled messages, to share them among many streams (loading takes about 20 ms). */
  readonly wire?: Wire;
}

export interface Connection {
  readonly endpoints: Endpoints;
  readonly token: string;
  readonly effects: ClientEffects;
  readonly wire: Wire;
  readonly logger: ClientLogger;
}

/** @throws QuorumQError invalid_argument */
export function resolveConnect(options: ConnectOptions): Connection {
  const effects = options.effects ?? createClientEffects();
  const configured = parseEndpoints(options.endpoints);
  return {
    endpoints: createEndpoints(configured, effects.random.unit()),
    token: options.token ?? "",
    effects,
    wire: options.wire ?? loadWire(),
    logger: options.logger ?? silentLogger,
  };
}
