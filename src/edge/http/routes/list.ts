/** GET /tasks and GET /admin/queues: pages with a cursor. */
import { decodeCursor, encodeCursor } from "../../../api/cursor.ts";
import { queueNamePattern } from "../../../api/schema.ts";
import { toQueueError } from "../../../api/wire-errors.ts";
import type { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import { type TaskState, taskStates } from "../../../base/task-state.ts";
import type { QueueView } from "../../../router/admin.ts";
import type { TaskView } from "../../../router/router.ts";
import { type Call, type HttpContext, isGone, sendError, sendJson } from "../context.ts";
import { get, type RouteSet } from "../routing.ts";
import { outOfRule, parseLimit, parseListQuery } from "../validation.ts";

/** Tasks of a page whose caller names no limit. */
const tasksDefault = 100;
/** Bytes of payloads written in one turn of the event loop. */
const bytesPerTurn = 256 * 1024;
const queueName = new RegExp(queueNamePattern, "u");

export function addListRoutes(routes: RouteSet): void {
  get(routes, {
    path: "/tasks",
    role: "any",
    handle: (call) => answer(routes.context, call, listTasks(routes, call)),
  });
  get(routes, {
    path: "/admin/queues",
    role: "admin",
    handle: (call) => answer(routes.context, call, listQueues(routes.context, call)),
  });
  get(routes, {
    path: "/admin/queues/:command",
    role: "admin",
    handle: (call) => {
      parseListQuery(call.request.query, call.dialect, []);
      const view = routes.context.deps.admin.queue(call.identity.tenant, requestedQueue(call));
      answer(
        routes.context,
        call,
        view.then((queue) => JSON.stringify(oneQueue(queue))),
      );
    },
  });
}

function answer(context: HttpContext, call: Call, text: Promise<string>): void {
  text.then(
    (json) => {
      if (!isGone(call.reply)) sendJson(call.reply, 200, json);
    },
    (thrown) => sendError(context, call, toQueueError(thrown)),
  );
}

async function listTasks(routes: RouteSet, call: Call): Promise<string> {
  const { request, dialect, identity } = call;
  const known = ["state", "command", "limit", "cursor"] as const;
  const query = parseListQuery(request.query, dialect, known);
  const limit = parseLimit(query.limit, dialect, {
    fallback: tasksDefault,
    maximum: limits.listPage,
  });
  const state = query.state === undefined ? null : stateOf(query.state);
  const queue = query.command ?? null;
  if (queue !== null && !queueName.test(queue)) throw badName("command");
  const scope = [identity.tenant, "tasks", state ?? "", queue ?? ""];
  const after = query.cursor === undefined ? null : positionOf(scope, query.cursor, 16);
  const { admin } = routes.context.deps;
  const page = await admin.list(identity.tenant, { state, queue, limit, after });
  const tasks = await writeTasks(routes, page.tasks);
  return page.next === null
    ? `{"tasks":[${tasks}]}`
    : `{"tasks":[${tasks}],"cursor":"${encodeCursor(scope, page.next)}"}`;
}

/** Payloads are checked as they are written: not more than some ms of it in one go. */
async function writeTasks(routes: RouteSet, tasks: readonly TaskView[]): Promise<string> {
  const { timers } = routes.context.deps;
  const parts: string[] = [];
  let bytes = 0;
  for (const task of tasks) {
    parts.push(routes.json.task(task));
    bytes += task.payload.length + 500;
    if (bytes < bytesPerTurn) continue;
    bytes = 0;
    await new Promise<void>((resolve) => timers.soon(resolve));
  }
  return parts.join();
}

async function listQueues(context: HttpContext, call: Call): Promise<string> {
  const { request, dialect, identity } = call;
  const query = parseListQuery(request.query, dialect, ["limit", "cursor"]);
  const maximum = limits.listPage;
  const limit = parseLimit(query.limit, dialect, { fallback: maximum, maximum });
  const scope = [identity.tenant, "queues"];
  const after = query.cursor === undefined ? null : positionOf(scope, query.cursor, null);
  const bounds = { after: after?.toString("latin1") ?? "", limit };
  const page = await context.deps.admin.queues(identity.tenant, bounds);
  return JSON.stringify({
    queues: page.queues.map(queueFields),
    ...(page.next === null
      ? {}
      : { cursor: encodeCursor(scope, Buffer.from(page.next, "latin1")) }),
  });
}

function queueFields(view: QueueView) {
  const { queue, ...fields } = view;
  return { command: queue, ...fields };
}

/** One queue has codeQ's names, too. */
function oneQueue(view: QueueView) {
  return { ...queueFields(view), inProgress: view.leased, dlq: view.dead };
}

function stateOf(text: string): TaskState {
  const state = taskStates.find((one) => one === text);
  if (state === undefined) throw outOfRule("state", `must be one of ${taskStates.join()}`);
  return state;
}

/** @throws QueueError invalid_argument: no cursor of this list, changed, or another tenant's */
function positionOf(scope: readonly string[], text: string, bytes: number | null): Buffer {
  const position = decodeCursor(scope, text);
  if (position === null || (bytes !== null && position.length !== bytes)) {
    throw outOfRule("cursor", "is not one that this list gave");
  }
  return position;
}

/** The queue of the path. @throws QueueError invalid_argument */
export function requestedQueue(call: Call): string {
  const { command } = call.request.params as { readonly command: string };
  if (!queueName.test(command)) throw badName("command");
  return command;
}

function badName(field: string): QueueError {
  return outOfRule(field, `must match pattern "${queueNamePattern}"`);
}
