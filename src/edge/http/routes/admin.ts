/**
 * What an admin does to queues and tasks of its tenant: redrive, purge, pause, resume, cleanup.
 * Each leaves one line in the log that says who did what to how many.
 */
import { formatTime, parseTime } from "../../../api/rfc3339.ts";
import type { CleanupBody, PurgeBody, RedriveBody } from "../../../api/schema.ts";
import { toQueueError } from "../../../api/wire-errors.ts";
import type { LogFields } from "../../../base/effects.ts";
import type { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import { parseTaskId } from "../../../base/task-id.ts";
import { type Call, type HttpContext, isGone, sendError, sendJson } from "../context.ts";
import { post, type RouteSet } from "../routing.ts";
import { outOfRule } from "../validation.ts";
import { clamped } from "./fields.ts";
import { requestedQueue } from "./list.ts";

/** Bytes of a body with a thousand ids. */
const bodyBytes = limits.httpEnvelopeBytes;

export function addAdminRoutes(routes: RouteSet): void {
  const { schemas } = routes;
  const common = {
    role: "admin",
    scope: "codeq:admin",
    rawField: null,
    mayBeEmpty: true,
    bodyBytes,
  } as const;
  post(routes, {
    ...common,
    path: "/admin/queues/:command/redrive",
    body: schemas.redrive,
    handle: (body, call) => redrive(routes.context, body, call),
  });
  post(routes, {
    ...common,
    path: "/admin/queues/:command/purge",
    body: schemas.purge,
    handle: (body, call) => purge(routes.context, body, call),
  });
  for (const name of ["pause", "resume"] as const) {
    post(routes, {
      ...common,
      path: `/admin/queues/:command/${name}`,
      body: schemas.empty,
      handle: (_body, call) => setPaused(routes.context, name, call),
    });
  }
  post(routes, {
    ...common,
    path: "/admin/tasks/cleanup",
    body: schemas.cleanup,
    handle: (body, call) => cleanup(routes.context, body, call),
  });
}

function redrive(context: HttpContext, body: RedriveBody, call: Call): void {
  const queue = requestedQueue(call);
  const ids = idsOf(body.ids);
  const limit = clamped(body.limit, limits.actionTasks, limits.actionTasks);
  act(context, call, { name: "redrive", queue }, async (signal) => {
    const choice = { ids, limit, signal };
    return { redriven: await context.deps.admin.redrive(call.identity.tenant, queue, choice) };
  });
}

function purge(context: HttpContext, body: PurgeBody, call: Call): void {
  const queue = requestedQueue(call);
  const ids = idsOf(body.ids);
  const states = body.states ?? null;
  if (ids === null && states === null) {
    throw outOfRule("states", "or ids is required: which tasks shall be removed");
  }
  const limit = clamped(body.limit, limits.actionTasks, limits.actionTasks);
  act(context, call, { name: "purge", queue }, async (signal) => {
    const choice = { ids, states, limit, signal };
    return { purged: await context.deps.admin.purge(call.identity.tenant, queue, choice) };
  });
}

function setPaused(context: HttpContext, name: "pause" | "resume", call: Call): void {
  const queue = requestedQueue(call);
  act(context, call, { name, queue }, async () => ({
    paused: await context.deps.admin.pause(call.identity.tenant, queue, name === "pause"),
  }));
}

function cleanup(context: HttpContext, body: CleanupBody, call: Call): void {
  const now = context.deps.clock.wallMs();
  const beforeMs = body.before === undefined ? now : parseTime(body.before);
  if (beforeMs === undefined) throw outOfRule("before", "must be an RFC 3339 time");
  const limit = clamped(body.limit, limits.actionTasks, limits.cleanupTasks);
  act(context, call, { name: "cleanup", queue: undefined }, async (signal) => {
    const choice = { beforeMs, limit, signal };
    const deleted = await context.deps.admin.cleanup(call.identity.tenant, choice);
    return { deleted, before: formatTime(beforeMs), limit };
  });
}

/** What an admin did, for the log. */
export interface Action {
  readonly name: string;
  readonly queue: string | undefined;
}

type Outcome = Readonly<Record<string, string | number | boolean>>;

/** Runs an action to its end, to the end of its time, or until nobody waits for it any more. */
function act(
  context: HttpContext,
  call: Call,
  action: Action,
  run: (signal: AbortSignal) => Promise<Outcome>,
): void {
  const { timers } = context.deps;
  const stop = new AbortController();
  const over = timers.after(limits.actionMs, () => stop.abort());
  context.waits.add(stop);
  call.reply.raw.once("close", () => stop.abort());
  const finish = () => {
    over.cancel();
    context.waits.delete(stop);
  };
  run(stop.signal).then(
    (outcome) => {
      finish();
      audit(context, call, action, outcome);
      if (isGone(call.reply)) return;
      // Cut short by its time, or by the end of the node: the caller may go on with another one.
      const more = stop.signal.aborted ? { more: true } : {};
      sendJson(call.reply, 200, JSON.stringify({ ...outcome, ...more }));
    },
    (thrown) => {
      finish();
      const error = toQueueError(thrown);
      audit(context, call, action, { code: error.code });
      if (!isGone(call.reply)) sendError(context, call, error);
    },
  );
}

/** Leaves the line of an action in the log. */
export function audit(context: HttpContext, call: Call, action: Action, outcome: LogFields): void {
  const { subject, tenant } = call.identity;
  context.deps.logger.info("admin action", {
    requestId: call.request.id,
    subject,
    tenant,
    action: action.name,
    ...(action.queue === undefined ? {} : { queue: action.queue }),
    ...outcome,
  });
}

/** @throws QueueError invalid_argument: one is no id of a task */
function idsOf(texts: readonly string[] | undefined): Buffer[] | null {
  if (texts === undefined) return null;
  return texts.map((text, i) => {
    const id = Buffer.allocUnsafe(16);
    if (!parseTaskId(text, id)) throw invalidId(i);
    return id;
  });
}

function invalidId(i: number): QueueError {
  return outOfRule(`ids[${i}]`, "is no id of a task");
}
