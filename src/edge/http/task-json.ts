/**
 * Tasks and results as JSON text, built by hand: an answer is one string, and payloads go from the
 * record into it as they are. (JSON.stringify of an object per task would parse every payload.)
 */
import { isUtf8 } from "node:buffer";
import type { JsonReader } from "../../api/json-reader.ts";
import { formatTime } from "../../api/rfc3339.ts";
import type { Dialect } from "../../api/schema.ts";
import { formatTaskId } from "../../base/task-id.ts";
import type { Grant, ResultView, TaskState, TaskView } from "../../router/router.ts";

export class TaskJson {
  private readonly reader: JsonReader;
  private readonly dialect: Dialect;

  constructor(reader: JsonReader, dialect: Dialect) {
    this.reader = reader;
    this.dialect = dialect;
  }

  /** One task; `duplicate` adds that mark of a repeated create. */
  task(task: TaskView, duplicate = false): string {
    let json = `{"id":"${task.id}","command":"${task.queue}",${this.payload(task.payload)}`;
    json += `,"priority":${task.priority},"state":"${task.state}","status":"${statusOf(task.state)}"`;
    json += `,"attempts":${task.attempts},"maxAttempts":${task.maxAttempts}`;
    if (task.workerId !== "") json += `,"workerId":${JSON.stringify(task.workerId)}`;
    if (task.leaseUntilMs !== 0) json += `,"leaseUntil":"${formatTime(task.leaseUntilMs)}"`;
    if (task.leaseToken !== 0) json += `,"leaseToken":"${task.leaseToken}"`;
    if (task.runAtMs !== 0) json += `,"runAt":"${formatTime(task.runAtMs)}"`;
    if (task.error !== "") json += `,"error":${JSON.stringify(task.error)}`;
    json += `,"tenantId":"${task.tenant}","createdAt":"${formatTime(task.createdAtMs)}"`;
    json += `,"updatedAt":"${formatTime(task.updatedAtMs)}"`;
    const { extras } = task;
    if (extras !== null) {
      json += text("webhook", extras.webhook);
      json += text("traceParent", extras.traceParent);
      json += text("traceState", extras.traceState);
    }
    return duplicate ? `${json},"duplicate":true}` : `${json}}`;
  }

  /** Task i of a grant, as its worker gets it. */
  granted(grant: Grant, i: number): string {
    return this.task({
      id: formatTaskId(grant.ids, i * 16),
      tenant: grant.tenant,
      queue: grant.queue,
      priority: grant.priority,
      state: "leased",
      attempts: grant.attempts[i] ?? 0,
      maxAttempts: grant.maxAttempts[i] ?? 0,
      payload: grant.block.subarray(grant.payloadFrom[i], grant.payloadTo[i]),
      workerId: grant.workerId,
      leaseToken: grant.leaseToken,
      leaseUntilMs: grant.leaseUntilMs,
      runAtMs: 0,
      createdAtMs: grant.createdAtMs,
      updatedAtMs: grant.updatedAtMs,
      error: "",
      extras: grant.extras?.[i] ?? null,
    });
  }

  /** The result record {taskId, status, result?, error?, completedAt}. */
  result(taskId: string, view: ResultView): string {
    let json = `{"taskId":"${taskId}","status":"${view.status}"`;
    if (view.result !== null && view.result.length > 0) json += `,${this.resultValue(view.result)}`;
    if (view.error !== "") json += `,"error":${JSON.stringify(view.error)}`;
    return `${json},"completedAt":"${formatTime(view.completedAtMs)}"}`;
  }

  /** Over gRPC a payload may be empty (null) or no JSON at all (base64, or text for codeQ). */
  private payload(bytes: Buffer): string {
    if (this.dialect === "codeq") {
      if (bytes.length === 0) return '"payload":"null"';
      if (isUtf8(bytes)) return `"payload":${JSON.stringify(bytes.toString("utf8"))}`;
      return `"payloadBase64":"${bytes.toString("base64")}"`;
    }
    if (bytes.length === 0) return '"payload":null';
    return this.reader.isJson(bytes, 0, bytes.length)
      ? `"payload":${bytes.toString("utf8")}`
      : `"payloadBase64":"${bytes.toString("base64")}"`;
  }

  private resultValue(bytes: Buffer): string {
    return this.reader.isJson(bytes, 0, bytes.length)
      ? `"result":${bytes.toString("utf8")}`
      : `"resultBase64":"${bytes.toString("base64")}"`;
  }
}

function text(name: string, value: string | undefined): string {
  return value === undefined ? "" : `,"${name}":${JSON.stringify(value)}`;
}

/** codeQ's word for a state (SPEC section 2). */
function statusOf(state: TaskState): string {
  switch (state) {
    case "delayed":
    case "ready":
      return "PENDING";
    case "leased":
      return "IN_PROGRESS";
    case "completed":
      return "COMPLETED";
    case "failed":
    case "dead":
    case "canceled":
      return "FAILED";
  }
}
