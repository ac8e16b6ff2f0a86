/** Fields that several routes have, from the wire's form to the router's. */
import { QueueError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import { parseTaskId } from "../../../base/task-id.ts";
import type { Call } from "../context.ts";

/** Below 1 stands for the default (codeQ's clients send 0 so); above the maximum is cut. */
export function clamped(value: number | undefined, maximum: number, fallback: number): number {
  return value === undefined || value < 1 ? fallback : Math.min(value, maximum);
}

/** Whole ms, rounded up: never before its time. */
export function delayMsOf(seconds: number): number {
  return Math.ceil(Math.min(Math.max(seconds, 0), limits.delaySecondsMax) * 1000);
}

/** A wait ends a little before its time, so that the answer is there in time. */
export function waitMsOf(seconds: number, secondsMax: number): number {
  const ms = Math.min(Math.max(seconds, 0), secondsMax) * 1000;
  return ms === 0 ? 0 : ms - limits.waitMarginMs;
}

/** The id of the path, as 16 bytes. @throws QueueError not_found: it is no id of a task */
export function requestedId(call: Call): Buffer {
  const id = Buffer.allocUnsafe(16);
  if (!parseTaskId(taskIdOf(call), id)) throw noSuchTask();
  return id;
}

/** The id of the path as ids are written. */
export function taskIdOf(call: Call): string {
  return (call.request.params as { readonly id: string }).id.toLowerCase();
}

export function noSuchTask(): QueueError {
  return new QueueError("not_found", "no such task");
}

/** 0 for none. A token beyond 2^53 was never given out: the largest number stands for it. */
export function leaseTokenOf(text: string | undefined): number {
  return text === undefined ? 0 : Math.min(Number(text), Number.MAX_SAFE_INTEGER);
}
