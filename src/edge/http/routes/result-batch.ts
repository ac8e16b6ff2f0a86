/** POST /tasks/batch/results. */
import type { ResultBatchBody, ResultItem } from "../../../api/schema.ts";
import { itemErrorJson } from "../../../api/wire-errors.ts";
import { QueueError } from "../../../base/errors.ts";
import { parseTaskId } from "../../../base/task-id.ts";
import type { SettleBatch, SettleResults } from "../../../router/router.ts";
import { type Call, sendError, sendJson } from "../context.ts";
import { post, type RouteSet } from "../routing.ts";
import { noSuchTask } from "./fields.ts";
import { allElsewhere, checkItem } from "./items.ts";
import { addResult, resultJson } from "./result.ts";

export function addResultBatchRoute(routes: RouteSet): void {
  const { context, schemas } = routes;
  post(routes, {
    path: "/tasks/batch/results",
    role: "worker",
    scope: "codeq:result",
    body: schemas.resultBatch,
    item: schemas.resultItem,
    rawField: "result",
    mayBeEmpty: false,
    bodyBytes: context.options.bodyBytes,
    handle: (body, call) => settleMany(routes, body, call),
  });
}

/** The items of one worker: a batch of the router is for one worker id. */
interface Group {
  readonly batch: SettleBatch;
  /** Per item of the batch its place in the request. */
  readonly places: number[];
  readonly items: ResultItem[];
}

function settleMany(routes: RouteSet, body: ResultBatchBody, call: Call): void {
  const { identity } = call;
  const groups = new Map<string, Group>();
  const parts: string[] = new Array<string>(body.results.length).fill("");
  const id = Buffer.alloc(16);
  for (const [i, value] of body.results.entries()) {
    const path = `results[${i}]`;
    try {
      const item = checkItem<ResultItem>(call, routes.schemas.resultItem, value, path);
      if (!parseTaskId(item.taskId, id)) throw noSuchTask();
      const workerId = item.workerId ?? body.workerId ?? identity.subject;
      const group = groupOf(routes, groups, identity.tenant, workerId);
      addResult(routes.context, group.batch, id, item, call.dialect, path);
      group.places.push(i);
      group.items.push(item);
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      parts[i] = itemErrorJson(error, taskIdField(value));
    }
  }
  const sent = [...groups.values()].filter((group) => group.places.length > 0);
  let waiting = sent.length;
  const answers: SettleResults[] = [];
  const finish = () => {
    const elsewhere = allElsewhere(answers);
    if (elsewhere) sendError(routes.context, call, elsewhere);
    else sendJson(call.reply, 200, `{"results":[${parts.join()}]}`);
  };
  if (waiting === 0) finish();
  for (const group of sent) {
    group.batch.send((results) => {
      answers.push(results);
      tell(routes, group, results, parts);
      if (--waiting === 0) finish();
    });
  }
}

function groupOf(
  routes: RouteSet,
  groups: Map<string, Group>,
  tenant: string,
  workerId: string,
): Group {
  const known = groups.get(workerId);
  if (known !== undefined) return known;
  const batch = routes.context.deps.router.settleBatch(tenant, workerId, "ifConcerned");
  const group: Group = { batch, places: [], items: [] };
  groups.set(workerId, group);
  return group;
}

function tell(routes: RouteSet, group: Group, results: SettleResults, parts: string[]): void {
  for (const [i, item] of group.items.entries()) {
    const error = results.error(i);
    const place = group.places[i] ?? 0;
    if (error !== undefined) {
      parts[place] = itemErrorJson(error, { taskId: item.taskId });
      continue;
    }
    const record = resultJson(routes.json, item.taskId.toLowerCase(), item, results.times[i] ?? 0);
    parts[place] = `{"taskId":${JSON.stringify(item.taskId)},"result":${record}}`;
  }
}

/** The id as it was sent, if it was a text at all. */
function taskIdField(value: unknown): { readonly taskId?: string } {
  const { taskId } = (value ?? {}) as { readonly taskId?: unknown };
  return typeof taskId === "string" ? { taskId: taskId.slice(0, 100) } : {};
}
