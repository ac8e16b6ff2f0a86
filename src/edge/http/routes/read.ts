/** GET /tasks/:id and its result; POST /tasks/:id/cancel. */
import { toQueueError } from "../../../api/wire-errors.ts";
import { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import type { TaskView } from "../../../router/router.ts";
import { type Call, isGone, sendError, sendJson } from "../context.ts";
import { get, post, type RouteSet } from "../routing.ts";
import { parseReadQuery } from "../validation.ts";
import { requestedId, waitMsOf } from "./fields.ts";

export function addReadRoutes(routes: RouteSet): void {
  const { context, schemas, json } = routes;
  const { router } = context.deps;
  get(routes, {
    path: "/tasks/:id",
    role: "any",
    handle: (call) => {
      const { consistency } = parseReadQuery(call.request.query, call.dialect, 0);
      answer(call, router.task(call.identity.tenant, requestedId(call), consistency));
    },
  });
  get(routes, {
    path: "/tasks/:id/result",
    role: "any",
    handle: (call) => readResult(routes, call),
  });
  post(routes, {
    path: "/tasks/:id/cancel",
    role: "producer",
    scope: null,
    body: schemas.empty,
    rawField: null,
    mayBeEmpty: true,
    bodyBytes: limits.httpEnvelopeBytes,
    handle: (_body, call) => {
      answer(call, router.cancel(call.identity.tenant, requestedId(call)));
    },
  });

  function answer(call: Call, found: Promise<TaskView>): void {
    found.then(
      (task) => sendJson(call.reply, 200, json.task(task)),
      (thrown) => sendError(context, call, toQueueError(thrown)),
    );
  }
}

function readResult(routes: RouteSet, call: Call): void {
  const { context, json } = routes;
  const { reply, request, identity } = call;
  const query = parseReadQuery(request.query, call.dialect, limits.resultWaitSecondsMax);
  const waitMs = waitMsOf(query.waitMs / 1000, limits.resultWaitSecondsMax);
  const { consistency } = query;
  const id = requestedId(call);
  const wait = waitMs > 0 ? startWait(routes, call, waitMs) : null;
  const options = { waitMs, consistency, ...(wait === null ? {} : { signal: wait.signal }) };
  context.deps.router.result(identity.tenant, id, options).then(
    ({ task, result }) => {
      endWait(wait);
      const record = result === null ? "null" : json.result(task.id, result);
      sendJson(reply, 200, `{"task":${json.task(task)},"result":${record}}`);
    },
    (thrown) => {
      endWait(wait);
      if (isGone(reply)) return;
      const isEnded = wait?.signal.aborted === true && context.isDraining;
      const draining = new QueueError("draining", "the node is stopping");
      sendError(context, call, isEnded ? draining : toQueueError(thrown));
    },
  );

  function endWait(ended: AbortController | null): void {
    if (ended !== null) context.waits.delete(ended);
  }
}

/** @throws QueueError overloaded: too many reads wait already */
function startWait(routes: RouteSet, call: Call, waitMs: number): AbortController {
  const { waits } = routes.context;
  if (waits.size >= limits.waitingReads) {
    throw new QueueError("overloaded", `${limits.waitingReads} reads wait already`);
  }
  const wait = new AbortController();
  waits.add(wait);
  call.request.waitMs = waitMs;
  call.reply.raw.once("close", () => wait.abort());
  return wait;
}
