/** POST /tasks/:id/{heartbeat,abandon,nack,result}: one settle or heartbeat each. */
import type Type from "typebox";
import { formatTime } from "../../../api/rfc3339.ts";
import type { Scope } from "../../../auth/authenticator.ts";
import { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import type { SettleBatch, SettleResults } from "../../../router/router.ts";
import { type Call, sendError, sendJson } from "../context.ts";
import { post, type RouteSet, singleBodyBytes } from "../routing.ts";
import { delayMsOf, leaseTokenOf, requestedId, taskIdOf } from "./fields.ts";
import { addResult, resultJson } from "./result.ts";

export function addSettleRoutes(routes: RouteSet): void {
  const { context, schemas } = routes;
  const small = { rawField: null, bodyBytes: limits.httpEnvelopeBytes } as const;
  settleRoute(routes, "heartbeat", "codeq:heartbeat", {
    ...small,
    body: schemas.heartbeat,
    add: (batch, id, body) => {
      const seconds = Math.min(Math.max(body.extendSeconds ?? 0, 0), limits.leaseSecondsMax);
      batch.heartbeat(id, 0, leaseTokenOf(body.leaseToken), seconds * 1000);
    },
    answer: (results) => `{"ok":true,"leaseUntil":"${formatTime(results.times[0] ?? 0)}"}`,
  });
  settleRoute(routes, "abandon", "codeq:abandon", {
    ...small,
    body: schemas.abandon,
    add: (batch, id, body) => batch.abandon(id, 0, leaseTokenOf(body.leaseToken)),
    answer: () => '{"status":"requeued"}',
  });
  settleRoute(routes, "nack", "codeq:nack", {
    ...small,
    body: schemas.nack,
    add: (batch, id, body) => {
      const reason = body.reason ?? "";
      if (Buffer.byteLength(reason) > limits.reasonBytes) {
        const text = `reason must have at most ${limits.reasonBytes} bytes`;
        throw new QueueError("invalid_argument", text, { field: "reason" });
      }
      const delayMs = body.delaySeconds === undefined ? -1 : delayMsOf(body.delaySeconds);
      batch.nack(id, 0, leaseTokenOf(body.leaseToken), delayMs, reason);
    },
    answer: (results) => {
      const status = results.dead[0] === 1 ? "dlq" : "requeued";
      return `{"status":"${status}","delaySeconds":${(results.times[0] ?? 0) / 1000}}`;
    },
  });
  settleRoute(routes, "result", "codeq:result", {
    body: schemas.result,
    rawField: "result",
    bodyBytes: singleBodyBytes(context),
    add: (batch, id, body, call) => addResult(context, batch, id, body, call.dialect, ""),
    answer: (results, body, call) => {
      return resultJson(routes.json, taskIdOf(call), body, results.times[0] ?? 0);
    },
  });
}

interface SettleRoute<T extends Type.TSchema> {
  readonly body: T;
  readonly rawField: "result" | null;
  readonly bodyBytes: number;
  readonly add: (batch: SettleBatch, id: Uint8Array, body: Type.Static<T>, call: Call) => void;
  /** The answer's text, once it is done. */
  readonly answer: (results: SettleResults, body: Type.Static<T>, call: Call) => string;
}

function settleRoute<T extends Type.TObject<{ workerId: Type.TOptional<Type.TString> }>>(
  routes: RouteSet,
  name: string,
  scope: Scope,
  route: SettleRoute<T>,
): void {
  const { context } = routes;
  post(routes, {
    path: `/tasks/:id/${name}`,
    role: "worker",
    scope,
    body: route.body,
    rawField: route.rawField,
    mayBeEmpty: name !== "result",
    bodyBytes: route.bodyBytes,
    handle: (body, call) => {
      const id = requestedId(call);
      const { tenant, subject } = call.identity;
      const workerId = workerIdOf(body) ?? subject;
      const batch = context.deps.router.settleBatch(tenant, workerId, "ifConcerned");
      route.add(batch, id, body, call);
      batch.send((results) => {
        const error = results.error(0);
        if (error !== undefined) sendError(context, call, error);
        else sendJson(call.reply, 200, route.answer(results, body, call));
      });
    },
  });
}

function workerIdOf(body: unknown): string | undefined {
  return (body as { readonly workerId?: string }).workerId;
}
