/** `quorumq task`: look at tasks, cancel them. */

import { type TaskState, taskStates } from "../../base/task-state.ts";
import type { HttpClient } from "../../client/http-client.ts";
import type { TaskRecord } from "../../client/http-records.ts";
import { parseCount, parseQueue, parseSeconds } from "../connection.ts";
import { cliExitCodes, usageError } from "../exit-codes.ts";
import type { Cell } from "../output.ts";
import type { Session } from "../session.ts";
import { waitForResult } from "./wait.ts";

export interface TaskFlags {
  readonly queue?: string;
  readonly state?: string;
  readonly limit?: string;
  readonly all?: boolean;
  readonly wait?: string;
  readonly before?: string;
  readonly yes?: boolean;
}

/** @throws CliError usage */
export function parseState(text: string): TaskState {
  const state = taskStates.find((name) => name === text);
  if (state === undefined) throw usageError(`--state: one of ${taskStates.join(", ")}`);
  return state;
}

/** @returns the exit code */
export async function runTask(
  session: Session,
  verb: "get" | "result" | "cancel",
  ids: readonly string[],
  flags: TaskFlags = {},
): Promise<number> {
  const http = await session.http();
  const [id = ""] = ids;
  switch (verb) {
    case "get": {
      const task = await http.getTask(id);
      session.output.answer(task, () => session.output.fields(taskFields(task)));
      return cliExitCodes.ok;
    }
    case "result": {
      const waitSeconds = parseSeconds("--wait", flags.wait ?? "0", { least: 0, most: 86_400 });
      return waitForResult(session, { id, waitSeconds });
    }
    case "cancel":
      return cancelAll(session, http, ids);
  }
}

/** One after the other, and stops at the first that fails: what was canceled is told by then. */
async function cancelAll(
  session: Session,
  http: HttpClient,
  ids: readonly string[],
): Promise<number> {
  const canceled: TaskRecord[] = [];
  for (const id of ids) {
    const task = await http.cancel(id);
    canceled.push(task);
    if (!session.output.isJson) session.terminal.out(`${task.id} ${task.state}`);
  }
  session.output.answer(ids.length === 1 ? canceled[0] : { tasks: canceled }, () => []);
  return cliExitCodes.ok;
}

const pageMax = 1000;

/** @returns the exit code */
export async function runTaskList(session: Session, flags: TaskFlags): Promise<number> {
  if (flags.all === true && flags.limit !== undefined) throw usageError("--all: not with --limit");
  const { output } = session;
  const limit =
    flags.all === true
      ? Number.POSITIVE_INFINITY
      : parseCount("--limit", flags.limit ?? "100", { least: 1, most: 1e9 });
  const http = await session.http();
  const filter = {
    ...(flags.queue !== undefined && { queue: parseQueue(flags.queue) }),
    ...(flags.state !== undefined && { state: parseState(flags.state) }),
    limit: Math.min(limit, pageMax),
  };
  let page: TaskRecord[] = [];
  let shown = 0;
  const print = (): void => {
    if (output.isJson) for (const task of page) output.listItem("tasks", task);
    else if (page.length > 0) session.terminal.out(output.table(taskHead, page.map(taskRow)));
    shown += page.length;
    page = [];
  };
  for await (const task of http.allTasks(filter)) {
    page.push(task);
    if (shown + page.length >= limit) break;
    if (page.length === pageMax) print();
  }
  print();
  if (output.isJson) output.endList("tasks");
  else if (shown === 0) session.terminal.note("no tasks");
  return cliExitCodes.ok;
}

const taskHead = ["ID", "QUEUE", "STATE", "PRIORITY", "ATTEMPTS", "UPDATED", "ERROR"];

function taskRow(task: TaskRecord): readonly Cell[] {
  const { id, queue, state, priority, attempts, maxAttempts, updatedAt, error } = task;
  return [id, queue, state, priority, `${attempts}/${maxAttempts}`, updatedAt, error ?? ""];
}

function taskFields(task: TaskRecord): readonly (readonly [string, Cell | undefined])[] {
  const payload = task.payloadBase64 ?? JSON.stringify(task.payload ?? null);
  return [
    ["id", task.id],
    ["queue", task.queue],
    ["state", task.state],
    [task.payloadBase64 === undefined ? "payload" : "payload, base64", payload],
    ["priority", task.priority],
    ["attempts", `${task.attempts} of ${task.maxAttempts}`],
    ["worker", task.workerId],
    ["lease until", task.leaseUntil],
    ["run at", task.runAt],
    ["error", task.error],
    ["webhook", task.webhook],
    ["trace parent", task.traceParent],
    ["trace state", task.traceState],
    ["tenant", task.tenant],
    ["created", task.createdAt],
    ["updated", task.updatedAt],
  ];
}

/** @returns the exit code */
export async function runTaskCleanup(session: Session, flags: TaskFlags): Promise<number> {
  const before = flags.before === undefined ? undefined : Date.parse(flags.before);
  if (before !== undefined && !(before >= 0)) throw usageError("--before: a time, RFC 3339");
  const limit = parseCount("--limit", flags.limit ?? "1000", { least: 1, most: 1e9 });
  if (flags.yes !== true) throw usageError("cleanup removes results for good; say --yes");
  const http = await session.http();
  const done = await http.cleanup({ limit, ...(before !== undefined && { before }) });
  session.output.answer({ deleted: done.count, more: done.more, before: done.before }, () => [
    `${done.count} removed${done.more ? ", more are left" : ""}`,
  ]);
  return cliExitCodes.ok;
}
