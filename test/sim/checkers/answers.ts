/** Every answer of the node against the outcome that the durable log gives it. */
import { errorCodes } from "../../../src/base/errors.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import { keyedTaskId } from "../../../src/router/request-hash.ts";
import type {
  CreateResults,
  Grant,
  NewTask,
  SettleResults,
  TaskView,
} from "../../../src/router/router.ts";
import type { Grant as LoggedGrant } from "../../queue/ops.ts";
import { must } from "../violation.ts";
import type { World } from "../world.ts";
import { nameOf } from "./log-ops.ts";
import { nameText, type Truth } from "./truth.ts";

/** Whether nothing of it was logged, for sure. */
export function isRefusal(code: number): boolean {
  return refusals.has(code);
}

/** Whether nobody knows if it was logged. */
export function isUnknown(code: number): boolean {
  return code === errorCodes.unknown_outcome.number;
}

const refusals = new Set<number>([
  errorCodes.no_leader.number,
  errorCodes.not_leader.number,
  errorCodes.overloaded.number,
  errorCodes.draining.number,
  errorCodes.insufficient_storage.number,
]);

export interface SentTask {
  readonly payload: string;
  readonly task: NewTask;
}

export interface SentFrame {
  readonly tenant: string;
  readonly items: readonly SentTask[];
  readonly runId: Buffer | null;
}

/** @param sentAt - last known index of each shard when the frame was sent */
export function checkCreated(
  world: World,
  frame: SentFrame,
  results: CreateResults,
  item: number,
  sentAt: readonly number[],
): void {
  const { payload, task } = frame.items[item] as SentTask;
  const code = results.codes[item] as number;
  const wanted = wantedId(frame, task);
  const id = code === 0 ? results.ids.subarray(16 * item, 16 * item + 16) : wanted;
  must(id !== null, "only keyed tasks and runs conflict", payload.slice(0, 20), code);
  const name = nameOf(id, 0);
  const truth = world.truthOf(id);
  const isWanted = wanted === null || nameOf(wanted, 0).key === name.key;
  must(isWanted, "the id that was asked for", payload);
  const duplicate = results.duplicates[item] === 1;
  const created = truth.creates.get(name.key) ?? [];
  const match = created.find(
    ({ index, outcome }) =>
      index > (sentAt[truth.shard] as number) &&
      outcome.code === code &&
      outcome.duplicate === duplicate &&
      (code !== 0 || outcome.createdAt === results.createdAtMs[item]) &&
      (outcome.runAt?.[name.place] ?? 0) === results.runAtMs[item],
  );
  must(match !== undefined, "a create as it was logged", payload.slice(0, 20), code, duplicate);
  if (code !== 0) return;
  const stored = truth.payloads.get(nameText(name));
  must(stored === payload, "the payload that was sent", payload.slice(0, 20));
  world.history.created(formatTaskId(id), payload);
}

/** The id that a task must get, place in its run apart; null where the server chooses. */
function wantedId(frame: SentFrame, task: NewTask): Buffer | null {
  if (frame.runId) return frame.runId;
  if (task.idempotencyKey === null) return null;
  return keyedTaskId(frame.tenant, task.idempotencyKey);
}

/** All tasks of one claim's answer. */
export function checkGrants(world: World, grants: readonly Grant[]): void {
  const counts = new Map<readonly LoggedGrant[], number>();
  for (const grant of grants) {
    const truth = world.truthOf(grant.ids);
    const logged = truth.claims.get(grant.leaseToken) ?? [];
    counts.set(logged, (counts.get(logged) ?? 0) + grant.count);
    for (let i = 0; i < grant.count; i++) {
      const name = nameOf(grant.ids, 16 * i);
      const id = formatTaskId(grant.ids, 16 * i);
      const match = logged.find((one) => one.key === name.key && one.place === name.place);
      must(match !== undefined, "a grant as it was logged", id, grant.leaseToken);
      const attempt = grant.attempts[i] as number;
      must(match.attempt === attempt, "attempts of a grant", match.attempt, attempt);
      must(match.until === grant.leaseUntilMs, "end of a lease", match.until, grant.leaseUntilMs);
      const from = grant.payloadFrom[i] as number;
      const payload = grant.block.toString("utf8", from, grant.payloadTo[i] as number);
      const stored = truth.payloads.get(nameText(name));
      must(stored === payload, "the payload that was sent", id, payload.slice(0, 20));
    }
  }
  for (const [logged, count] of counts) {
    must(logged.length === count, "an answer has all that its claim got", logged.length, count);
  }
  for (const grant of grants) noteGrant(world, grant);
}

function noteGrant(world: World, grant: Grant): void {
  for (let i = 0; i < grant.count; i++) {
    const name = nameOf(grant.ids, 16 * i);
    world.history.granted({
      id: formatTaskId(grant.ids, 16 * i),
      payload: world.truthOf(grant.ids).payloads.get(nameText(name)) ?? "",
      token: grant.leaseToken,
      attempt: grant.attempts[i] as number,
      maxAttempts: grant.maxAttempts[i] as number,
      claimedMs: grant.updatedAtMs,
      untilMs: grant.leaseUntilMs,
    });
  }
}

export interface SentSettle {
  readonly tenant: string;
  readonly id: Buffer;
  readonly token: number;
  readonly op: "complete" | "fail" | "nack" | "abandon" | "heartbeat";
  readonly ms: number;
  readonly text: string;
  /** A later token was known when it was sent. */
  readonly isStale: boolean;
}

/** What a batch said of the tasks of one shard. */
export interface SettledPart {
  readonly items: readonly SentSettle[];
  readonly results: SettleResults;
  /** Which of them belong to the shard, in order. */
  readonly places: readonly number[];
}

/** @param workerId - of the batch: no other batch has it */
export function checkSettled(
  world: World,
  truth: Truth,
  workerId: string,
  { items, results, places }: SettledPart,
): void {
  const logged = truth.settles.get(workerId)?.outcome;
  must(logged !== undefined, "a settle that was answered was logged", workerId);
  places.forEach((i, place) => {
    const item = items[i] as SentSettle;
    const want = logged.items[place];
    const got = [results.codes[i], results.times[i], results.dead[i]].join(" ");
    must(want !== undefined, "a settle has its items", workerId, i);
    const wanted = [want.code, want.time, want.dead].join(" ");
    must(got === wanted, "a settle as it was logged", workerId, item.op, got, wanted);
    // Not found: the task ended and its record is gone.
    const lost = want.code === errorCodes.lease_lost.number;
    const refused = lost || want.code === errorCodes.not_found.number;
    must(!item.isStale || refused, "a stale token is refused", workerId, item.op, want.code);
    if (want.code !== 0) return;
    const ends = item.op === "complete" || item.op === "fail" || want.dead === 1;
    if (ends && item.token > 0) {
      world.history.ended(formatTaskId(item.id), item.token, want.dead === 1);
    }
  });
}

/** A task as it was read, in the words of textOfTask. */
export function textOfView(view: TaskView): string {
  const { state, attempts, maxAttempts, workerId, leaseToken, leaseUntilMs, runAtMs } = view;
  const lease = [leaseToken, leaseUntilMs, runAtMs, view.updatedAtMs];
  return [state, attempts, maxAttempts, workerId, ...lease, view.queue, view.priority].join(" ");
}
