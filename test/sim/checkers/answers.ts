/** Every answer of the node against the outcome that the durable log gives it. */
import { errorCodes } from "../../../src/base/errors.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import { taskState } from "../../../src/queue/run.ts";
import { keyedTaskId } from "../../../src/router/request-hash.ts";
import type {
  CreateResults,
  Grant,
  NewTask,
  SettleResults,
  TaskView,
} from "../../../src/router/router.ts";
import type { ModelTask } from "../../queue/model.ts";
import type { TaskName } from "../../queue/ops.ts";
import { must } from "../violation.ts";
import type { World } from "../world.ts";
import { nameOf } from "./log-ops.ts";
import { nameText } from "./oracle.ts";

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

const ids = Object.keys(taskState);

/** @param sentAt - last durable index when the frame was sent */
export function checkCreated(
  world: World,
  frame: SentFrame,
  results: CreateResults,
  item: number,
  sentAt: number,
): void {
  const { oracle, history } = world;
  const { payload, task } = frame.items[item] as SentTask;
  const code = results.codes[item] as number;
  const id = results.ids.subarray(16 * item, 16 * item + 16);
  const name = code === 0 ? nameOf(id, 0) : wantedName(frame, task);
  must(name !== null, "only keyed tasks and runs conflict", payload.slice(0, 20), code);
  const wanted = wantedName(frame, task);
  must(wanted === null || wanted.key === name.key, "the id that was asked for", payload);
  const duplicate = results.duplicates[item] === 1;
  const created = oracle.creates.get(name.key) ?? [];
  const match = created.find(
    ({ index, outcome }) =>
      index > sentAt &&
      outcome.code === code &&
      outcome.duplicate === duplicate &&
      (code !== 0 || outcome.createdAt === results.createdAtMs[item]) &&
      (outcome.runAt?.[name.place] ?? 0) === results.runAtMs[item],
  );
  must(match !== undefined, "a create as it was logged", payload.slice(0, 20), code, duplicate);
  if (code !== 0) return;
  const stored = oracle.payloads.get(nameText(name));
  must(stored === payload, "the payload that was sent", payload.slice(0, 20));
  history.created(formatTaskId(id), payload);
}

/** The name that a task must get; null where the server chooses. */
function wantedName(frame: SentFrame, task: NewTask): TaskName | null {
  if (frame.runId) return nameOf(frame.runId, 0);
  if (task.idempotencyKey === null) return null;
  return nameOf(keyedTaskId(frame.tenant, task.idempotencyKey), 0);
}

/** All tasks of one claim's answer. @param complete - none was withheld from it */
export function checkGrants(world: World, grants: readonly Grant[]): void {
  const { oracle, history } = world;
  for (const grant of grants) {
    const logged = oracle.claims.get(grant.leaseToken) ?? [];
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
      const stored = oracle.payloads.get(nameText(name));
      must(stored === payload, "the payload that was sent", id, payload.slice(0, 20));
    }
  }
  const counts = new Map<number, number>();
  for (const { leaseToken, count } of grants) {
    counts.set(leaseToken, (counts.get(leaseToken) ?? 0) + count);
  }
  for (const [token, count] of counts) {
    const logged = oracle.claims.get(token)?.length;
    must(logged === count, "an answer has all that its claim got", logged, count);
  }
  for (const grant of grants) noteGrant(world, grant, history);
}

function noteGrant(world: World, grant: Grant, history: World["history"]): void {
  for (let i = 0; i < grant.count; i++) {
    const name = nameOf(grant.ids, 16 * i);
    history.granted({
      id: formatTaskId(grant.ids, 16 * i),
      payload: world.oracle.payloads.get(nameText(name)) ?? "",
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

/** @param workerId - of the batch: no other batch has it */
export function checkSettled(
  world: World,
  workerId: string,
  items: readonly SentSettle[],
  results: SettleResults,
): void {
  const logged = world.oracle.settles.get(workerId)?.outcome;
  must(logged !== undefined, "a settle that was answered was logged", workerId);
  items.forEach((item, i) => {
    const want = logged.items[i];
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
    if (ends && item.token > 0) world.history.ended(formatTaskId(item.id), item.token);
  });
}

/** A task as it stands in the model: equal texts, equal tasks. */
export function snapshotOf(task: ModelTask | undefined): string {
  if (!task || task.state === taskState.removed) return "none";
  const { state, attempts, token, worker, due, updated } = task;
  return [ids[state], attempts, token, worker, due, updated].join(" ");
}

/** The view of a task that did not change while it was read. */
export function checkView(task: ModelTask, view: TaskView): void {
  const leased = task.state === taskState.leased;
  const want = [
    ids[task.state],
    task.attempts,
    task.max,
    task.worker,
    leased ? task.token : 0,
    leased ? task.due : 0,
    task.state === taskState.delayed ? task.due : 0,
    task.updated,
    task.run.queue.name,
    task.run.priority,
  ].join(" ");
  const { state, attempts, maxAttempts, workerId, leaseToken, leaseUntilMs, runAtMs } = view;
  const lease = [leaseToken, leaseUntilMs, runAtMs, view.updatedAtMs];
  const got = [state, attempts, maxAttempts, workerId, ...lease, view.queue, view.priority];
  must(got.join(" ") === want, "a task as it was read", got.join(" "), want);
}
