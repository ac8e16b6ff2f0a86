/** What an admin does to the queues of its tenant, over HTTP. */
import { limits } from "../base/limits.ts";
import { bodyText, queuePath, type Time, timeText, withQuery } from "./http-body.ts";
import { isTrue, list, maybeText, number, text } from "./http-json.ts";
import { itemsOfPages } from "./http-pages.ts";
import type { TaskState } from "./http-records.ts";
import type { CallOptions, HttpRequester } from "./http-request.ts";

/** A queue as it is now. */
export interface QueueRecord {
  readonly queue: string;
  readonly ready: number;
  readonly delayed: number;
  readonly leased: number;
  readonly dead: number;
  /** Nothing is claimed from it. */
  readonly paused: boolean;
  /** How long the oldest ready task is ready; 0 if none is. */
  readonly oldestReadyAgeMs: number;
  /** Average over about 10 s, as the leader saw it. */
  readonly createdPerSecond: number;
  readonly settledPerSecond: number;
}

export interface QueuePage {
  /** By name. */
  readonly queues: readonly QueueRecord[];
  /** For the next page; undefined on the last one. */
  readonly cursor: string | undefined;
}

/** Which tasks an action is for. */
export interface ActionOptions extends CallOptions {
  /** 1..1000 tasks by id. */
  readonly ids?: readonly string[];
  /** Tasks at most. */
  readonly limit?: number;
}

export interface ActionResult {
  /** Tasks that it was done to. */
  readonly count: number;
  /** It took too long and stopped: call again for the rest. */
  readonly more: boolean;
}

/** Needs a token with the role admin. All actions may be repeated, and are, after an outage. */
export interface HttpQueues {
  /** One page of the tenant's queues. @param options.limit - 1..1000; default 1000 */
  listQueues(
    options?: { readonly limit?: number; readonly cursor?: string } & CallOptions,
  ): Promise<QueuePage>;
  /** All queues, page by page as they are asked for. */
  allQueues(options?: { readonly limit?: number } & CallOptions): AsyncIterable<QueueRecord>;
  /** One queue; zeros if nobody used it. */
  queue(queue: string, options?: CallOptions): Promise<QueueRecord>;
  /** Makes dead tasks ready again, with no attempts; without `ids` all of them. */
  redrive(queue: string, options?: ActionOptions): Promise<ActionResult>;
  /** Removes tasks and their records, by state or id (one of them is required). */
  purge(
    queue: string,
    options: ActionOptions & { readonly states?: readonly TaskState[] },
  ): Promise<ActionResult>;
  /** Nothing is claimed from a paused queue; leases that are out go on. */
  pause(queue: string, options?: CallOptions): Promise<{ readonly paused: boolean }>;
  resume(queue: string, options?: CallOptions): Promise<{ readonly paused: boolean }>;
  /**
   * Removes ended tasks whose retention ends before a time.
   * @param options.before - a Date, or ms since 1970; default now
   * @param options.limit - tasks at most; default 1000
   */
  cleanup(
    options?: { readonly before?: Time; readonly limit?: number } & CallOptions,
  ): Promise<ActionResult & { readonly before: string; readonly limit: number }>;
}

export function createHttpQueues(requester: HttpRequester): HttpQueues {
  const act = (path: string, body: string, options: CallOptions) =>
    requester.request({ ...changing, path, body, serverMs: limits.actionMs }, options);
  const setPaused = async (queue: string, name: "pause" | "resume", options: CallOptions) => {
    const body = await requester.request(
      { ...changing, path: `${queuePath(queue)}/${name}` },
      options,
    );
    return { paused: isTrue(body, "paused") };
  };
  const listQueues: HttpQueues["listQueues"] = async (options = {}) => {
    const { limit, cursor } = options;
    const path = withQuery("/v1/admin/queues", { limit, cursor });
    const body = await requester.request({ ...reading, path }, options);
    return { queues: list(body, "queues", readQueue), cursor: maybeText(body, "cursor") };
  };
  return {
    listQueues,
    allQueues: (options = {}) =>
      itemsOfPages(async (from) => {
        const { queues: items, cursor } = await listQueues({ ...options, ...from });
        return { items, cursor };
      }),
    async queue(queue, options = {}) {
      return readQueue(await requester.request({ ...reading, path: queuePath(queue) }, options));
    },
    async redrive(queue, options = {}) {
      const { ids, limit } = options;
      const body = await act(`${queuePath(queue)}/redrive`, bodyText({ ids, limit }), options);
      return readAction(body, "redriven");
    },
    async purge(queue, options) {
      const { ids, limit, states } = options;
      const sent = bodyText({ ids, limit, states });
      return readAction(await act(`${queuePath(queue)}/purge`, sent, options), "purged");
    },
    pause: (queue, options = {}) => setPaused(queue, "pause", options),
    resume: (queue, options = {}) => setPaused(queue, "resume", options),
    async cleanup(options = {}) {
      const { before, limit } = options;
      const beforeText = before === undefined ? undefined : timeText("before", before);
      const sent = bodyText({ before: beforeText, limit });
      const body = await act("/v1/admin/tasks/cleanup", sent, options);
      const done = readAction(body, "deleted");
      return { ...done, before: text(body, "before"), limit: number(body, "limit") };
    },
  };
}

const reading = { method: "GET", isRepeatable: true, changes: false } as const;
const changing = { method: "POST", isRepeatable: true, changes: true } as const;

function readAction(body: unknown, name: string): ActionResult {
  return { count: number(body, name), more: isTrue(body, "more") };
}

function readQueue(body: unknown): QueueRecord {
  return {
    queue: text(body, "command"),
    ready: number(body, "ready"),
    delayed: number(body, "delayed"),
    leased: number(body, "leased"),
    dead: number(body, "dead"),
    paused: isTrue(body, "paused"),
    oldestReadyAgeMs: number(body, "oldestReadyAgeMs"),
    createdPerSecond: number(body, "createdPerSecond"),
    settledPerSecond: number(body, "settledPerSecond"),
  };
}
