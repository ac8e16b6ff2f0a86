/** POST /tasks and /tasks/batch. */
import type { RawJson } from "../../../api/json-reader.ts";
import { parseTime } from "../../../api/rfc3339.ts";
import type { CreateBatchBody, CreateBody } from "../../../api/schema.ts";
import { itemErrorJson, toQueueError } from "../../../api/wire-errors.ts";
import { present } from "../../../base/assert.ts";
import { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import { formatTaskId } from "../../../base/task-id.ts";
import type { CreateResults, NewTask, TaskExtras, TaskView } from "../../../router/router.ts";
import { type Call, type HttpContext, sendError, sendJson } from "../context.ts";
import { post, type RouteSet, singleBodyBytes } from "../routing.ts";
import { clamped, delayMsOf } from "./fields.ts";
import { allElsewhere, checkItem } from "./items.ts";

export function addCreateRoutes(routes: RouteSet): void {
  const { context, schemas } = routes;
  post(routes, {
    path: "/tasks",
    role: "producer",
    scope: null,
    body: schemas.create,
    rawField: "payload",
    mayBeEmpty: false,
    bodyBytes: singleBodyBytes(context),
    handle: (body, call) => createOne(routes, body, call),
  });
  post(routes, {
    path: "/tasks/batch",
    role: "producer",
    scope: null,
    body: schemas.createBatch,
    item: schemas.create,
    rawField: "payload",
    mayBeEmpty: false,
    bodyBytes: context.options.bodyBytes,
    handle: (body, call) => createMany(routes, body, call),
  });
}

function createOne(routes: RouteSet, body: CreateBody, call: Call): void {
  const { context, json } = routes;
  const { tenant } = call.identity;
  const task = toNewTask(context, call, body, headerKey(call), "");
  const { payload } = body;
  const batch = context.deps.router.createBatch(tenant, "ifConcerned");
  batch.add(task, payload.bytes, payload.from, payload.to);
  batch.send(null, (results) => {
    const error = results.error(0);
    if (error !== undefined) {
      sendError(context, call, error);
    } else if (results.duplicates[0] === 0) {
      sendJson(call.reply, 202, json.task(createdTask(tenant, task, payload, results, 0)));
    } else {
      taskAsItIs(context, tenant, results, 0).then(
        (view) => sendJson(call.reply, 202, json.task(view, true)),
        (thrown) => sendError(context, call, toQueueError(thrown)),
      );
    }
  });
}

/** An item of a batch: what was asked for, or why it was refused. */
type Item = { readonly task: NewTask; readonly payload: RawJson } | QueueError;

function createMany(routes: RouteSet, body: CreateBatchBody, call: Call): void {
  const { context, dialect } = routes;
  const { tenant } = call.identity;
  if (dialect === "v1" && headerKey(call) !== undefined) {
    const text = "Idempotency-Key is for single tasks: give each task its idempotencyKey";
    throw new QueueError("invalid_argument", text, { field: "Idempotency-Key" });
  }
  const batch = context.deps.router.createBatch(tenant, "ifConcerned");
  const items: Item[] = [];
  for (const [i, value] of body.tasks.entries()) {
    const item = toItem(routes, call, value, `tasks[${i}]`);
    items.push(item);
    if (item instanceof QueueError) batch.addRefused(item);
    else batch.add(item.task, item.payload.bytes, item.payload.from, item.payload.to);
  }
  batch.send(null, (results) => {
    const elsewhere = allElsewhere([results]);
    if (elsewhere) {
      sendError(context, call, elsewhere);
      return;
    }
    answerMany(routes, tenant, items, results).then(
      (text) => sendJson(call.reply, 200, text),
      (thrown) => sendError(context, call, toQueueError(thrown)),
    );
  });
}

function toItem(routes: RouteSet, call: Call, value: unknown, path: string): Item {
  try {
    const body = checkItem<CreateBody>(call, routes.schemas.create, value, path);
    const task = toNewTask(routes.context, call, body, undefined, path);
    return { task, payload: body.payload };
  } catch (error) {
    if (error instanceof QueueError) return error;
    throw error;
  }
}

async function answerMany(
  routes: RouteSet,
  tenant: string,
  items: readonly Item[],
  results: CreateResults,
): Promise<string> {
  const { context, json } = routes;
  const parts: string[] = [];
  const repeated: Promise<void>[] = [];
  for (const [i, item] of items.entries()) {
    const error = results.error(i);
    if (error !== undefined || item instanceof QueueError) {
      const reason = error ?? present(item instanceof QueueError ? item : null, "a refused item");
      parts.push(itemErrorJson(reason, {}));
    } else if (results.duplicates[i] === 0) {
      const view = createdTask(tenant, item.task, item.payload, results, i);
      parts.push(`{"task":${json.task(view)}}`);
    } else {
      parts.push("");
      const read = taskAsItIs(context, tenant, results, i).then(
        (view) => {
          parts[i] = `{"task":${json.task(view, true)}}`;
        },
        (thrown) => {
          parts[i] = itemErrorJson(toQueueError(thrown), {});
        },
      );
      repeated.push(read);
    }
  }
  await Promise.all(repeated);
  return `{"results":[${parts.join()}]}`;
}

function taskAsItIs(
  context: HttpContext,
  tenant: string,
  results: CreateResults,
  i: number,
): Promise<TaskView> {
  const id = results.ids.subarray(i * 16, i * 16 + 16);
  return context.deps.router.task(tenant, id, "linearizable");
}

/** The answer to a first create needs no read: everything is known. */
function createdTask(
  tenant: string,
  task: NewTask,
  payload: RawJson,
  results: CreateResults,
  i: number,
): TaskView {
  const createdAtMs = results.createdAtMs[i] ?? 0;
  const runAtMs = results.runAtMs[i] ?? 0;
  return {
    id: formatTaskId(results.ids, i * 16),
    tenant,
    queue: task.queue,
    priority: task.priority,
    state: runAtMs > 0 ? "delayed" : "ready",
    attempts: 0,
    maxAttempts: task.maxAttempts,
    payload: payload.bytes.subarray(payload.from, payload.to),
    workerId: "",
    leaseToken: 0,
    leaseUntilMs: 0,
    runAtMs,
    createdAtMs,
    updatedAtMs: createdAtMs,
    error: "",
    extras: task.extras,
  };
}

/** @param path - of the item in its batch, or "" */
function toNewTask(
  context: HttpContext,
  call: Call,
  body: CreateBody,
  keyOfHeader: string | undefined,
  path: string,
): NewTask {
  const { payload } = body;
  const field = (name: string) => (path === "" ? name : `${path}.${name}`);
  if (payload.to - payload.from > context.options.payloadBytes) {
    const text = `payload is larger than ${context.options.payloadBytes} bytes`;
    throw new QueueError("payload_too_large", text, { field: field("payload") });
  }
  // Of four bytes only `null` is not allowed: a slice begins and ends with its value.
  if (payload.to - payload.from === 4 && payload.bytes[payload.from] === 110) {
    throw invalid(field("payload"), "is required and must not be null");
  }
  return {
    queue: body.command,
    priority: Math.min(Math.max(body.priority ?? 0, 0), limits.priorityMax),
    maxAttempts: clamped(
      body.maxAttempts,
      limits.maxAttemptsMax,
      context.options.maxAttemptsDefault,
    ),
    delayMs: delayMsOf(body.delaySeconds ?? 0),
    runAtMs: body.runAt === undefined ? 0 : runAtMsOf(context, call, body.runAt, field("runAt")),
    extras: extrasOf(body),
    idempotencyKey: keyOf(body.idempotencyKey, keyOfHeader, field("idempotencyKey")),
  };
}

function runAtMsOf(context: HttpContext, call: Call, text: string, field: string): number {
  const ms = parseTime(text);
  if (ms === undefined) throw invalid(field, "must be an RFC 3339 time");
  const latestMs = context.deps.clock.wallMs() + limits.delaySecondsMax * 1000;
  if (call.dialect === "v1" && (ms < 0 || ms > latestMs)) {
    throw invalid(field, "must be between 1970 and ten years from now");
  }
  // 0 says "none" to the router; a time in the past means at once.
  return Math.min(Math.max(ms, 1), latestMs);
}

function extrasOf(body: CreateBody): TaskExtras | null {
  const { webhook, traceParent, traceState } = body;
  if (webhook === undefined && traceParent === undefined && traceState === undefined) return null;
  return {
    ...(webhook === undefined ? {} : { webhook }),
    ...(traceParent === undefined ? {} : { traceParent }),
    ...(traceState === undefined ? {} : { traceState }),
  };
}

function keyOf(
  ofField: string | undefined,
  ofHeader: string | undefined,
  field: string,
): string | null {
  if (ofField !== undefined && Buffer.byteLength(ofField) > limits.idempotencyKeyBytes) {
    throw invalid(field, `must have at most ${limits.idempotencyKeyBytes} bytes`);
  }
  if (ofField !== undefined && ofHeader !== undefined && ofField !== ofHeader) {
    throw invalid(field, "differs from the Idempotency-Key header");
  }
  return ofField ?? ofHeader ?? null;
}

/** @throws QueueError invalid_argument: empty, too long or not printable ASCII */
function headerKey(call: Call): string | undefined {
  const key = call.request.headers["idempotency-key"];
  if (key === undefined) return undefined;
  const isText = typeof key === "string" && /^[\x20-\x7e]+$/u.test(key);
  if (!isText || key.length > limits.idempotencyKeyBytes) {
    const rule = `must be 1 to ${limits.idempotencyKeyBytes} printable ASCII characters`;
    throw invalid("Idempotency-Key", rule);
  }
  return key;
}

function invalid(field: string, rule: string): QueueError {
  return new QueueError("invalid_argument", `${field} ${rule}`, { field });
}
