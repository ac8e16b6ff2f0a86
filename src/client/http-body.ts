/** Bodies and paths of requests over HTTP. */
import { isUtf8 } from "node:buffer";
import { QuorumQError } from "./errors.ts";

/**
 * An object's JSON text; fields that are undefined are left out.
 * @param value - one more field as it is: a Uint8Array is its JSON text, anything else is encoded
 * @throws QuorumQError invalid_argument for what JSON has no form of
 */
export function bodyText(
  fields: Readonly<Record<string, unknown>>,
  value?: { readonly name: string; readonly value: unknown },
): string {
  const object = JSON.stringify(fields);
  if (value === undefined || value.value === undefined) return object;
  const field = `${JSON.stringify(value.name)}:${valueText(value.name, value.value)}`;
  return object === "{}" ? `{${field}}` : `${object.slice(0, -1)},${field}}`;
}

function valueText(name: string, value: unknown): string {
  if (!(value instanceof Uint8Array)) return encoded(name, value);
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8");
  if (isUtf8(value)) {
    try {
      // What is one value can not smuggle in another field of the object around it.
      JSON.parse(text);
      return text;
    } catch {
      // Told below.
    }
  }
  throw new QuorumQError("invalid_argument", `${name}: over HTTP bytes must be JSON`);
}

function encoded(name: string, value: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new QuorumQError("invalid_argument", `${name}: has no form in JSON`, { cause });
  }
  if (json === undefined)
    throw new QuorumQError("invalid_argument", `${name}: has no form in JSON`);
  return json;
}

/** A path with its query; fields that are undefined are left out. */
export function withQuery(
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? path : `${path}?${text}`;
}

export function taskPath(id: string): string {
  return `/v1/tasks/${encodeURIComponent(id)}`;
}

export function queuePath(queue: string): string {
  return `/v1/admin/queues/${encodeURIComponent(queue)}`;
}

// biome-ignore lint/style/noRestrictedGlobals: a type of the caller's values, not a clock
export type Time = Date | number;

/** RFC 3339. @throws QuorumQError invalid_argument: it is no time */
export function timeText(name: string, time: Time): string {
  const ms = typeof time === "number" ? time : time.getTime();
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) {
    throw new QuorumQError("invalid_argument", `${name}: is no time`);
  }
  // biome-ignore lint/style/noRestrictedGlobals: writes a time, reads no clock
  return new Date(Math.ceil(ms)).toISOString();
}
