/** A worker's part over HTTP: claim, keep the lease, settle. */
import { QuorumQError } from "./errors.ts";
import { requestBatch } from "./http-batch.ts";
import { bodyText, taskPath } from "./http-body.ts";
import { fieldOf, list, number, text } from "./http-json.ts";
import { type ClaimedRecord, type ResultRecord, readClaimed, readResult } from "./http-records.ts";
import type { CallOptions, HttpRequester } from "./http-request.ts";
import type { ClientEffects } from "./system.ts";

export interface ClaimOptions extends CallOptions {
  /** Queues to take from; absent = all that the token allows. */
  readonly queues?: readonly string[];
  /** Length of the lease, 1..86,400; default 300. */
  readonly leaseSeconds?: number;
  /** Wait so long for work, 0..30; default 0. */
  readonly waitSeconds?: number;
  /** At most 128 characters; default the token's subject. */
  readonly workerId?: string;
}

/** Who settles. Without a lease token the worker's id decides, and nothing is sent twice. */
export interface HolderOptions extends CallOptions {
  /** Of the claim. */
  readonly leaseToken?: string | number | undefined;
  readonly workerId?: string | undefined;
}

/** An item of `resultBatch`. */
export type ResultBatchItem = {
  readonly taskId: string;
  readonly leaseToken?: string | number;
  readonly workerId?: string;
  /** See `HttpWork.complete`. */
  readonly result?: unknown;
} & ({ readonly status: "COMPLETED" } | { readonly status: "FAILED"; readonly error: string });

/** What became of one item of a batch of results. */
export type SettleOutcome =
  | { readonly kind: "settled"; readonly taskId: string; readonly result: ResultRecord }
  | { readonly kind: "refused"; readonly taskId: string; readonly error: QuorumQError };

/**
 * Settles are sent again after an unknown outcome when they have a lease token: it makes them safe.
 * A repeated `nack` or `abandon` then may find its own first try done and be told `lease_lost`.
 */
export interface HttpWork {
  /**
   * Takes one task under a lease; null when there is none. A claim whose answer got lost may leave
   * a task leased until its lease is over.
   * @throws QuorumQError with the server's code, timeout
   */
  claim(options?: ClaimOptions): Promise<ClaimedRecord | null>;
  /** Takes up to `count` tasks (1..1000, default 10); none is an empty list. See `claim`. */
  claimBatch(
    options?: ClaimOptions & { readonly count?: number },
  ): Promise<readonly ClaimedRecord[]>;
  /**
   * Sets the lease to now + `extendSeconds` (1..86,400; default the length it was claimed with).
   * @throws QuorumQError lease_lost, not_found …
   */
  heartbeat(
    id: string,
    options: HolderOptions & { readonly extendSeconds?: number },
  ): Promise<{ readonly leaseUntil: string }>;
  /** Hands the task back unharmed: it is ready at once, and the attempt does not count. */
  abandon(id: string, options: HolderOptions): Promise<void>;
  /**
   * The attempt failed: again later, or dead when it was the last one.
   * @param options.delaySeconds - 0 = at once; absent = by the backoff policy
   * @returns what became of it, and after how many seconds it is ready again
   */
  nack(
    id: string,
    options: HolderOptions & { readonly delaySeconds?: number; readonly reason?: string },
  ): Promise<{ readonly status: "requeued" | "dlq"; readonly delaySeconds: number }>;
  /**
   * The task is done.
   * @param options.result - any JSON value (a Uint8Array is JSON text); absent = none
   * @throws QuorumQError lease_lost, not_found, unknown_outcome …
   */
  complete(
    id: string,
    options: HolderOptions & { readonly result?: unknown },
  ): Promise<ResultRecord>;
  /** The task failed for good; see `complete`. */
  fail(
    id: string,
    options: HolderOptions & { readonly error: string; readonly result?: unknown },
  ): Promise<ResultRecord>;
  /** Settles 1..1000 tasks; one outcome per item, in order. See `HttpTasks.createBatch`. */
  resultBatch(
    items: readonly ResultBatchItem[],
    options?: CallOptions,
  ): Promise<readonly SettleOutcome[]>;
}

export function createHttpWork(
  requester: HttpRequester,
  random: ClientEffects["random"],
): HttpWork {
  const settle = (id: string, name: string, body: string, options: HolderOptions) => {
    const isRepeatable = options.leaseToken !== undefined || name === "heartbeat";
    const path = `${taskPath(id)}/${name}`;
    return requester.request({ method: "POST", path, body, isRepeatable, changes: true }, options);
  };
  return {
    async claim(options = {}) {
      const body = await requester.request(claimRequest("/v1/tasks/claim", options), options);
      return body === null ? null : readClaimed(body);
    },
    async claimBatch(options = {}) {
      const path = "/v1/tasks/claim/batch";
      const body = await requester.request(claimRequest(path, options), options);
      return body === null ? [] : list(body, "tasks", readClaimed);
    },
    async heartbeat(id, options) {
      const { extendSeconds } = options;
      const sent = bodyText({ ...holder(options), extendSeconds });
      return { leaseUntil: text(await settle(id, "heartbeat", sent, options), "leaseUntil") };
    },
    async abandon(id, options) {
      await settle(id, "abandon", bodyText(holder(options)), options);
    },
    async nack(id, options) {
      const { delaySeconds, reason } = options;
      const sent = bodyText({ ...holder(options), delaySeconds, reason });
      const body = await settle(id, "nack", sent, options);
      return {
        status: text(body, "status") === "dlq" ? "dlq" : "requeued",
        delaySeconds: number(body, "delaySeconds"),
      };
    },
    async complete(id, options) {
      const sent = resultBody({ ...options, status: "COMPLETED" });
      return readResult(await settle(id, "result", sent, options));
    },
    async fail(id, options) {
      const sent = resultBody({ ...options, status: "FAILED" });
      return readResult(await settle(id, "result", sent, options));
    },
    resultBatch: (items, options = {}) => resultBatch(requester, random, items, options),
  };
}

function claimRequest(path: string, options: ClaimOptions & { readonly count?: number }) {
  const { queues, leaseSeconds, waitSeconds, workerId, count } = options;
  const fields = { commands: queues, leaseSeconds, waitSeconds, workerId, count };
  return {
    method: "POST",
    path,
    body: bodyText(fields),
    isRepeatable: true,
    changes: false,
    serverMs: (waitSeconds ?? 0) * 1000,
  } as const;
}

function holder({ leaseToken, workerId }: Pick<HolderOptions, "leaseToken" | "workerId">) {
  return { leaseToken: leaseToken === undefined ? undefined : String(leaseToken), workerId };
}

function resultBody(
  item: Pick<HolderOptions, "leaseToken" | "workerId"> & {
    readonly taskId?: string;
    readonly status: "COMPLETED" | "FAILED";
    readonly error?: string;
    readonly result?: unknown;
  },
): string {
  const { taskId, status, error, result } = item;
  return bodyText({ taskId, status, error, ...holder(item) }, { name: "result", value: result });
}

async function resultBatch(
  requester: HttpRequester,
  random: ClientEffects["random"],
  items: readonly ResultBatchItem[],
  options: CallOptions,
): Promise<readonly SettleOutcome[]> {
  const outcomes = await requestBatch(
    requester,
    random,
    {
      path: "/v1/tasks/batch/results",
      name: "results",
      bodies: items.map(resultBody),
      read: (item) => readResult(fieldOf(item, "result")),
      isRepeatable: (place) => items[place]?.leaseToken !== undefined,
    },
    options,
  );
  return outcomes.map((outcome, place) => {
    const taskId = items[place]?.taskId ?? "";
    return outcome instanceof QuorumQError
      ? { kind: "refused", taskId, error: outcome }
      : { kind: "settled", taskId, result: outcome };
  });
}
