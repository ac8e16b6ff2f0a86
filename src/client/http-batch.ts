/** Batches over HTTP: items that were refused for now are sent again, the others keep their answer. */
import { backoffMs } from "./backoff.ts";
import { QuorumQError } from "./errors.ts";
import { fieldOf, list } from "./http-json.ts";
import {
  type CallOptions,
  errorOfBody,
  type HttpRequest,
  type HttpRequester,
} from "./http-request.ts";
import { leavesDoubt, nextTry } from "./retry.ts";
import type { ClientEffects } from "./system.ts";

export interface BatchRequest<T> {
  readonly path: string;
  /** The field that holds the items. */
  readonly name: string;
  /** The items as JSON text. */
  readonly bodies: readonly string[];
  /** The outcome of an item that was done. */
  read(item: unknown, place: number): T;
  isRepeatable(place: number): boolean;
}

/** An item's outcome, or why it has none. */
export type BatchOutcome<T> = T | QuorumQError;

/** @throws QuorumQError when the batch as a whole was refused; then no item has an outcome */
export async function requestBatch<T>(
  requester: HttpRequester,
  random: ClientEffects["random"],
  batch: BatchRequest<T>,
  options: CallOptions,
): Promise<readonly BatchOutcome<T>[]> {
  const { clock } = requester;
  const deadlineMs = requester.deadlineOf(options);
  const outcomes = new Array<BatchOutcome<T>>(batch.bodies.length);
  let open = [...batch.bodies.keys()];
  for (let round = 0; open.length > 0; round++) {
    const timeoutMs = deadlineMs - clock.monotonicMs();
    const sent = open;
    open = [];
    const answers = await ask(requester, requestOf(batch, sent), { ...options, timeoutMs }, round);
    for (const [i, place] of sent.entries()) {
      const answer = answers instanceof QuorumQError ? answers : errorOfItem(answers[i]);
      if (answer === null) {
        outcomes[place] = batch.read(answers instanceof QuorumQError ? null : answers[i], place);
        continue;
      }
      // That an earlier try of it may have happened outlives a later "it did not".
      if (!isInDoubt(outcomes[place]) || leavesDoubt(answer.code)) outcomes[place] = answer;
      const isRepeatable = batch.isRepeatable(place);
      const next = nextTry({ code: answer.code, tries: round + 1, isRepeatable });
      if (!(answers instanceof QuorumQError) && next !== "give up") open.push(place);
    }
    const pauseMs = backoffMs(round, random);
    if (open.length === 0 || clock.monotonicMs() + pauseMs >= deadlineMs) break;
    await requester.pause(pauseMs, options.signal);
  }
  return outcomes;
}

function requestOf<T>(batch: BatchRequest<T>, places: readonly number[]): HttpRequest {
  const items = places.map((place) => batch.bodies[place]).join();
  return {
    method: "POST",
    path: batch.path,
    body: `{"${batch.name}":[${items}]}`,
    isRepeatable: places.every((place) => batch.isRepeatable(place)),
    changes: true,
  };
}

/** In the first round a refusal is the batch's, later it is that of the items that are left. */
async function ask(
  requester: HttpRequester,
  request: HttpRequest,
  options: CallOptions,
  round: number,
): Promise<readonly unknown[] | QuorumQError> {
  try {
    return list(await requester.request(request, options), "results", (item) => item);
  } catch (error) {
    if (round > 0 && error instanceof QuorumQError) return error;
    throw error;
  }
}

function errorOfItem(item: unknown): QuorumQError | null {
  return typeof fieldOf(item, "code") === "string" ? errorOfBody(500, item) : null;
}

function isInDoubt(outcome: unknown): boolean {
  return outcome instanceof QuorumQError && leavesDoubt(outcome.code);
}
