/** Results of tasks: what /tasks/:id/result and /tasks/batch/results have in common. */
import type { RawJson } from "../../../api/json-reader.ts";
import type { Dialect, ResultBody } from "../../../api/schema.ts";
import { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import type { SettleBatch } from "../../../router/router.ts";
import type { HttpContext } from "../context.ts";
import type { TaskJson } from "../task-json.ts";
import { leaseTokenOf } from "./fields.ts";

/**
 * Adds a checked result to a batch.
 * @param path - of the item in its batch, or ""
 * @throws QueueError invalid_argument (error missing, or out of place), payload_too_large
 */
export function addResult(
  context: HttpContext,
  batch: SettleBatch,
  id: Uint8Array,
  body: ResultBody,
  dialect: Dialect,
  path: string,
): void {
  const { status, error, result } = body;
  const field = (name: string) => (path === "" ? name : `${path}.${name}`);
  if (result !== undefined && result.to - result.from > context.options.payloadBytes) {
    throw tooLarge(field("result"), context.options.payloadBytes);
  }
  const token = leaseTokenOf(body.leaseToken);
  const bytes = result === undefined ? null : slice(result);
  if (status === "COMPLETED") {
    if (error !== undefined && dialect === "v1") {
      throw invalid(field("error"), "must be absent where status is COMPLETED");
    }
    batch.complete(id, 0, token, bytes);
    return;
  }
  if (error === undefined) throw invalid(field("error"), "is required where status is FAILED");
  const text = Buffer.from(error);
  if (text.length > limits.resultBytes) throw tooLarge(field("error"), limits.resultBytes);
  batch.fail(id, 0, token, text, bytes);
}

/** The result record of what has just been settled. */
export function resultJson(
  json: TaskJson,
  taskId: string,
  body: ResultBody,
  completedAtMs: number,
): string {
  return json.result(taskId, {
    status: body.status,
    result: body.result === undefined ? null : slice(body.result),
    error: body.status === "FAILED" ? (body.error ?? "") : "",
    completedAtMs,
  });
}

function slice(raw: RawJson): Buffer {
  return raw.bytes.subarray(raw.from, raw.to);
}

function tooLarge(field: string, bytes: number): QueueError {
  return new QueueError("payload_too_large", `${field} is larger than ${bytes} bytes`, { field });
}

function invalid(field: string, rule: string): QueueError {
  return new QueueError("invalid_argument", `${field} ${rule}`, { field });
}
