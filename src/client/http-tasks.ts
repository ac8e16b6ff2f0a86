/** Tasks over HTTP: create, look up, list, cancel. */
import { backoffMs } from "./backoff.ts";
import type { TaskOptions } from "./create-input.ts";
import { QuorumQError } from "./errors.ts";
import { requestBatch } from "./http-batch.ts";
import { bodyText, taskPath, timeText, withQuery } from "./http-body.ts";
import { fieldOf, list, maybeText } from "./http-json.ts";
import { itemsOfPages } from "./http-pages.ts";
import {
  type CreatedRecord,
  type ResultRecord,
  readCreated,
  readResult,
  readTask,
  type TaskRecord,
  type TaskState,
} from "./http-records.ts";
import type { CallOptions, HttpRequester } from "./http-request.ts";
import type { ClientEffects } from "./system.ts";

export interface CreateOptions extends TaskOptions, CallOptions {}

/** A task of `createBatch`. */
export interface CreateItem extends TaskOptions {
  readonly queue: string;
  /** See `HttpTasks.create`. */
  readonly payload: unknown;
}

/** What became of one task of a batch. */
export type CreateOutcome =
  | { readonly kind: "created"; readonly task: CreatedRecord }
  | { readonly kind: "refused"; readonly error: QuorumQError };

export interface ReadOptions extends CallOptions {
  /**
   * `linearizable` (default): as it is now, from any node. `stale`: as the asked node knows it.
   * `leader`: from the node that leads the task's shard.
   */
  readonly consistency?: "linearizable" | "stale" | "leader";
}

export interface TaskFilter {
  readonly state?: TaskState;
  readonly queue?: string;
  /** Tasks of a page, 1..1000; default 100. */
  readonly limit?: number;
}

export interface TaskPage {
  /** By id. May be short, or empty, and still not the last page. */
  readonly tasks: readonly TaskRecord[];
  /** For the next page; undefined on the last one. */
  readonly cursor: string | undefined;
}

export interface HttpTasks {
  /**
   * Creates a task. Resolves once it is durable.
   *
   * Without an idempotency key it is never sent again after a try that may have happened: that is
   * told as `unknown_outcome`. With a key it is repeated until the call's time is up.
   * @param payload - any JSON value but null; a Uint8Array is JSON text and kept as it is
   * @throws QuorumQError with the server's code, `timeout`, `unknown_outcome`
   */
  create(queue: string, payload: unknown, options?: CreateOptions): Promise<CreatedRecord>;
  /**
   * Creates 1..1000 tasks of any queues; one outcome per item, in order. Items that are refused
   * for now are sent again within the call's time, those with a key also after an unknown outcome.
   * @throws QuorumQError when the batch as a whole was refused or may have happened
   */
  createBatch(
    items: readonly CreateItem[],
    options?: CallOptions,
  ): Promise<readonly CreateOutcome[]>;
  /** @throws QuorumQError not_found, timeout … */
  getTask(id: string, options?: ReadOptions): Promise<TaskRecord>;
  /**
   * The task, and its result once it has ended; null until then.
   * @param options.waitSeconds - wait so long for the end, 0..60; default 0
   * @throws QuorumQError not_found, timeout …
   */
  getResult(
    id: string,
    options?: ReadOptions & { readonly waitSeconds?: number },
  ): Promise<{ readonly task: TaskRecord; readonly result: ResultRecord | null }>;
  /**
   * Cancels a task that has not ended; its worker is told.
   * @throws QuorumQError not_found, already_settled, timeout, unknown_outcome …
   */
  cancel(id: string, options?: CallOptions): Promise<TaskRecord>;
  /** One page of the tenant's tasks. @throws QuorumQError invalid_argument, timeout … */
  listTasks(options?: TaskFilter & { readonly cursor?: string } & CallOptions): Promise<TaskPage>;
  /**
   * All tasks that pass the filter, page by page as they are asked for. What is created or ends
   * meanwhile may be missed or seen; nothing is seen twice.
   * @example for await (const task of http.allTasks({ state: "dead" })) console.log(task.id);
   */
  allTasks(options?: TaskFilter & CallOptions): AsyncIterable<TaskRecord>;
}

export function createHttpTasks(
  requester: HttpRequester,
  random: ClientEffects["random"],
): HttpTasks {
  const listTasks: HttpTasks["listTasks"] = async (options = {}) => {
    const { state, queue, limit, cursor } = options;
    const path = withQuery("/v1/tasks", { state, command: queue, limit, cursor });
    const body = await requester.request(reading(path), options);
    return { tasks: list(body, "tasks", readTask), cursor: maybeText(body, "cursor") };
  };
  return {
    async create(queue, payload, options = {}) {
      const body = createBody(queue, payload, options);
      const isRepeatable = options.idempotencyKey !== undefined;
      const request = { method: "POST", path: "/v1/tasks", body, isRepeatable } as const;
      return readCreated(await requester.request({ ...request, changes: true }, options));
    },
    createBatch: (items, options = {}) => createBatch(requester, random, items, options),
    async getTask(id, options = {}) {
      const { consistency } = options;
      const path = withQuery(taskPath(id), { consistency: asked(consistency) });
      return readTask(await requester.request(reading(path), options));
    },
    getResult: (id, options = {}) => getResult(requester, random, id, options),
    async cancel(id, options = {}) {
      const path = `${taskPath(id)}/cancel`;
      const request = { method: "POST", path, isRepeatable: true, changes: true } as const;
      return readTask(await requester.request(request, options));
    },
    listTasks,
    allTasks: (options = {}) =>
      itemsOfPages(async (from) => {
        const { tasks: items, cursor } = await listTasks({ ...options, ...from });
        return { items, cursor };
      }),
  };
}

/** A node that stops ends its waits early: the rest of the time is waited for elsewhere. */
async function getResult(
  requester: HttpRequester,
  random: ClientEffects["random"],
  id: string,
  options: ReadOptions & { readonly waitSeconds?: number },
): Promise<{ readonly task: TaskRecord; readonly result: ResultRecord | null }> {
  const { waitSeconds = 0, consistency } = options;
  const { clock } = requester;
  const endMs = clock.monotonicMs() + waitSeconds * 1000;
  for (let round = 0; ; round++) {
    const left = Math.max(0, endMs - clock.monotonicMs());
    const seconds = round === 0 ? waitSeconds : Math.floor(left / 1000);
    const query = { waitSeconds: seconds, consistency: asked(consistency) };
    const path = withQuery(`${taskPath(id)}/result`, query);
    const request = { ...reading(path), serverMs: seconds * 1000 };
    const body = await requester.request(request, options);
    const result = fieldOf(body, "result") ?? null;
    const pauseMs = backoffMs(round, random);
    if (result !== null || clock.monotonicMs() + pauseMs + 1000 > endMs) {
      const task = readTask(fieldOf(body, "task"));
      return { task, result: result === null ? null : readResult(result) };
    }
    await requester.pause(pauseMs, options.signal);
  }
}

/** The default needs no word in the query. */
function asked(consistency: ReadOptions["consistency"]): string | undefined {
  return consistency === "linearizable" ? undefined : consistency;
}

function reading(path: string) {
  return { method: "GET", path, isRepeatable: true, changes: false } as const;
}

async function createBatch(
  requester: HttpRequester,
  random: ClientEffects["random"],
  items: readonly CreateItem[],
  options: CallOptions,
): Promise<readonly CreateOutcome[]> {
  const outcomes = await requestBatch(
    requester,
    random,
    {
      path: "/v1/tasks/batch",
      name: "tasks",
      bodies: items.map((item) => createBody(item.queue, item.payload, item)),
      read: (item) => readCreated(fieldOf(item, "task")),
      isRepeatable: (place) => items[place]?.idempotencyKey !== undefined,
    },
    options,
  );
  return outcomes.map((outcome) =>
    outcome instanceof QuorumQError
      ? { kind: "refused", error: outcome }
      : { kind: "created", task: outcome },
  );
}

function createBody(queue: string, payload: unknown, options: TaskOptions): string {
  const { priority, maxAttempts, delaySeconds, runAt, idempotencyKey } = options;
  const { webhook, traceParent, traceState } = options;
  if (payload === undefined || payload === null) {
    throw new QuorumQError("invalid_argument", "payload: over HTTP it must not be null");
  }
  const fields = {
    command: queue,
    priority,
    maxAttempts,
    delaySeconds: runAt === undefined ? delaySeconds : undefined,
    runAt: runAt === undefined ? undefined : timeText("runAt", runAt),
    idempotencyKey,
    webhook,
    traceParent,
    traceState,
  };
  return bodyText(fields, { name: "payload", value: payload });
}
