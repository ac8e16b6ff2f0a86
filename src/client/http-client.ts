/** The whole HTTP surface of the server, typed: one call per route, with the SDK's retries. */
import { createHttpCluster, type HttpCluster } from "./http-cluster.ts";
import { createHttpQueues, type HttpQueues } from "./http-queues.ts";
import { HttpRequester } from "./http-request.ts";
import { HttpSender } from "./http-send.ts";
import { createHttpTasks, type HttpTasks } from "./http-tasks.ts";
import { parseUrls } from "./http-urls.ts";
import { createHttpWork, type HttpWork } from "./http-work.ts";
import { type ClientEffects, createClientEffects } from "./system.ts";

export interface HttpClientOptions {
  /** Base URLs, "http://host:port" (default port 8080): one, several with commas, or a list. */
  readonly endpoints: string | readonly string[];
  /** The token's text; absent for a server without authentication. */
  readonly token?: string | undefined;
  /** Ms that a call may take, retries included, beside the time it waits; 30,000. */
  readonly timeoutMs?: number;
  /** Clock, timers and random numbers; the process's own if absent. */
  readonly effects?: ClientEffects;
}

export interface HttpClient extends HttpTasks, HttpWork, HttpQueues, HttpCluster {}

/**
 * Creates a client for HTTP. It goes to the node that answered last, follows redirects to leaders,
 * and tries others while a node is gone or an election runs; connections are kept alive by fetch,
 * and nothing has to be closed.
 *
 * @example
 * const http = createHttpClient({ endpoints: "http://127.0.0.1:8080", token: process.env.TOKEN });
 * const { id } = await http.create("mail", { to: "a@b.c" }, { idempotencyKey: "order-17" });
 * const { result } = await http.getResult(id, { waitSeconds: 30 });
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const effects = options.effects ?? createClientEffects();
  const { timeoutMs = 30_000, token = "" } = options;
  const sender = new HttpSender(effects, parseUrls(options.endpoints), token);
  const requester = new HttpRequester({ effects, sender, timeoutMs });
  return {
    ...createHttpTasks(requester, effects.random),
    ...createHttpWork(requester, effects.random),
    ...createHttpQueues(requester),
    ...createHttpCluster(requester),
  };
}
