/** POST /tasks/claim and /tasks/claim/batch. */
import type { ClaimBatchBody } from "../../../api/schema.ts";
import type { Identity } from "../../../auth/authenticator.ts";
import { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import type { ClaimOutcome, Grant } from "../../../router/router.ts";
import { type Call, type HttpContext, isGone, sendError, sendJson } from "../context.ts";
import { post, type RouteSet } from "../routing.ts";
import { clamped, waitMsOf } from "./fields.ts";

const batchCountDefault = 10;

export function addClaimRoutes(routes: RouteSet): void {
  const { schemas } = routes;
  const common = {
    role: "worker",
    scope: "codeq:claim",
    rawField: null,
    mayBeEmpty: true,
    bodyBytes: limits.httpEnvelopeBytes,
  } as const;
  post(routes, {
    ...common,
    path: "/tasks/claim",
    body: schemas.claim,
    handle: (body, call) => claim(routes, body, call, "one"),
  });
  post(routes, {
    ...common,
    path: "/tasks/claim/batch",
    body: schemas.claimBatch,
    handle: (body, call) => claim(routes, body, call, "many"),
  });
}

function claim(routes: RouteSet, body: ClaimBatchBody, call: Call, form: "one" | "many"): void {
  const { context } = routes;
  const { identity, request, reply } = call;
  const waitMs = waitMsOf(body.waitSeconds ?? 0, limits.claimWaitSecondsMax);
  const leaseSeconds = clamped(
    body.leaseSeconds,
    limits.leaseSecondsMax,
    context.options.leaseSecondsDefault,
  );
  const claimed = {
    tenant: identity.tenant,
    queues: queuesOf(identity, body.commands),
    count: form === "one" ? 1 : clamped(body.count, limits.claimTasks, batchCountDefault),
    bytesMax: limits.claimHttpBytes,
    leaseMs: leaseSeconds * 1000,
    workerId: body.workerId ?? identity.subject,
    waitMs,
  };
  let isAnswered = false;
  const handle = context.deps.router.claim(claimed, (outcome) => {
    isAnswered = true;
    answer(routes, call, form, outcome);
  });
  if (waitMs === 0) return;
  request.waitMs = waitMs;
  // `close` comes after every answer as well: then there is nothing left to cancel.
  reply.raw.once("close", () => {
    if (!isAnswered) handle.cancel();
  });
  if (isGone(reply)) handle.cancel();
}

/** @throws QueueError permission_denied: a queue that the token does not allow */
function queuesOf(
  identity: Identity,
  commands: readonly string[] | undefined,
): readonly string[] | null {
  if (commands === undefined || commands.length === 0) {
    if (identity.queues === null) return null;
    if (identity.queues.size > 0) return [...identity.queues];
    throw new QueueError("permission_denied", "the token allows no queue");
  }
  for (const [i, queue] of commands.entries()) {
    if (!identity.mayClaim(queue)) {
      const text = `the token does not allow queue ${queue}`;
      throw new QueueError("permission_denied", text, { field: `commands[${i}]` });
    }
  }
  return commands;
}

function answer(routes: RouteSet, call: Call, form: "one" | "many", outcome: ClaimOutcome): void {
  const { context, json } = routes;
  const { reply } = call;
  if (outcome.kind === "failed") {
    sendError(context, call, outcome.error);
    return;
  }
  if (outcome.kind === "empty") {
    reply.code(204).send();
    return;
  }
  if (isGone(reply)) {
    for (const grant of outcome.grants) giveBack(context, grant);
    return;
  }
  const tasks: string[] = [];
  for (const grant of outcome.grants) {
    for (let i = 0; i < grant.count; i++) tasks.push(json.granted(grant, i));
  }
  const [first = ""] = tasks;
  sendJson(reply, 200, form === "one" ? first : `{"tasks":[${tasks.join()}]}`);
}

/** The worker went away while its tasks were on their way: nobody will work on them. */
function giveBack(context: HttpContext, grant: Grant): void {
  const { router, logger } = context.deps;
  const batch = router.settleBatch(grant.tenant, grant.workerId);
  for (let i = 0; i < grant.count; i++) batch.release(grant.ids, i * 16, grant.leaseToken);
  batch.send((results) => {
    // Not given back here means: its lease runs out.
    const error = results.error(0);
    if (error !== undefined) logger.debug("could not give a task back", { code: error.code });
  });
}
