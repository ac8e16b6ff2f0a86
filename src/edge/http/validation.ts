/**
 * From a schema's complaint to an error that names the field and the rule.
 */
import type { Dialect } from "../../api/schema.ts";
import { QueueError } from "../../base/errors.ts";

/** What a compiled schema says of the first thing it refuses (ajv's error object). */
export interface SchemaComplaint {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message?: string;
}

/**
 * @param prefix - path of the value that was checked, as `tasks[3]`; "" for the body
 */
export function toValidationError(
  complaint: SchemaComplaint | undefined,
  prefix: string,
): QueueError {
  if (complaint === undefined) return new QueueError("invalid_argument", "the body is not valid");
  const { keyword, params } = complaint;
  let field = joined(prefix, pathOf(complaint.instancePath));
  let rule = complaint.message ?? "is not valid";
  if (keyword === "required") {
    field = joined(field, String(params["missingProperty"]));
    rule = "is required";
  } else if (keyword === "additionalProperties") {
    field = joined(field, String(params["additionalProperty"]).slice(0, 200));
    rule = "is not a known field";
  } else if (keyword === "enum") {
    rule = `must be one of ${String(params["allowedValues"])}`;
  }
  if (field === "") return new QueueError("invalid_argument", `the body ${rule}`);
  return new QueueError("invalid_argument", `${field} ${rule}`, { field });
}

/** `/commands/3` as `commands[3]`. */
function pathOf(pointer: string): string {
  return pointer
    .replace(/\/(\d+)(?=\/|$)/gu, "[$1]")
    .replace(/^\//u, "")
    .replaceAll("/", ".");
}

function joined(prefix: string, path: string): string {
  if (prefix === "" || path === "") return prefix + path;
  return path.startsWith("[") ? prefix + path : `${prefix}.${path}`;
}

/** In codeQ's dialect null and "" stand for an absent field, as Go's zero values do. */
export function dropEmpty(body: Record<string, unknown>): void {
  for (const name of Object.keys(body)) {
    if (body[name] === null || body[name] === "") delete body[name];
  }
}

/** @throws QueueError invalid_argument for any query parameter; codeQ's are ignored */
export function refuseQuery(query: unknown, dialect: Dialect): void {
  if (dialect === "codeq") return;
  for (const name in query as Record<string, unknown>) throw unknownParameter(name);
}

export interface ReadQuery {
  readonly waitMs: number;
  readonly consistency: "linearizable" | "stale" | "leader";
}

/**
 * The query of a read.
 * @param waitSecondsMax - 0 where the route knows no waitSeconds
 * @throws QueueError invalid_argument: unknown, repeated or out of range (clamped for codeQ)
 */
export function parseReadQuery(
  query: unknown,
  dialect: Dialect,
  waitSecondsMax: number,
): ReadQuery {
  let waitMs = 0;
  let consistency: ReadQuery["consistency"] = "linearizable";
  const parameters = query as Readonly<Record<string, unknown>>;
  for (const name in parameters) {
    const value = parameters[name];
    if (name === "waitSeconds" && waitSecondsMax > 0) {
      const digits = typeof value === "string" && /^\d{1,9}$/u.test(value);
      const seconds = digits ? Number(value) : Number.NaN;
      if (Number.isNaN(seconds) || (dialect === "v1" && seconds > waitSecondsMax)) {
        throw outOfRule(name, `must be an integer from 0 to ${waitSecondsMax}`);
      }
      waitMs = Math.min(seconds, waitSecondsMax) * 1000;
    } else if (name === "consistency") {
      if (value === "stale" || value === "leader") consistency = value;
      else if (dialect === "v1") throw outOfRule(name, "must be stale or leader");
    } else if (dialect === "v1") {
      throw unknownParameter(name);
    }
  }
  return { waitMs, consistency };
}

/** What lists take; absent = not given. */
export interface ListParameters {
  readonly state?: string;
  readonly command?: string;
  readonly limit?: string;
  readonly cursor?: string;
}

/**
 * The parameters of a list, each once, as they were sent.
 * @param known - those that the route takes
 * @throws QueueError invalid_argument: unknown (ignored for codeQ) or repeated
 */
export function parseListQuery(
  query: unknown,
  dialect: Dialect,
  known: readonly (keyof ListParameters)[],
): ListParameters {
  const parameters = query as Readonly<Record<string, unknown>>;
  const taken: { -readonly [K in keyof ListParameters]: ListParameters[K] } = {};
  for (const name in parameters) {
    const value = parameters[name];
    const found = known.find((one) => one === name);
    if (found !== undefined) {
      if (typeof value !== "string") throw outOfRule(name, "appears twice");
      if (value !== "" || dialect === "v1") taken[found] = value;
    } else if (dialect === "v1") {
      throw unknownParameter(name);
    }
  }
  return taken;
}

/** @throws QueueError invalid_argument: no integer, or out of range (clamped for codeQ) */
export function parseLimit(
  text: string | undefined,
  dialect: Dialect,
  bounds: { readonly fallback: number; readonly maximum: number },
): number {
  if (text === undefined) return bounds.fallback;
  const value = /^\d{1,9}$/u.test(text) ? Number(text) : Number.NaN;
  const isIn = value >= 1 && value <= bounds.maximum;
  if (Number.isNaN(value) || (dialect === "v1" && !isIn)) {
    throw outOfRule("limit", `must be an integer from 1 to ${bounds.maximum}`);
  }
  return value < 1 ? bounds.fallback : Math.min(value, bounds.maximum);
}

function unknownParameter(name: string): QueueError {
  return outOfRule(name.slice(0, 200), "is not a known query parameter");
}

/** A field or parameter that breaks its rule. */
export function outOfRule(field: string, rule: string): QueueError {
  return new QueueError("invalid_argument", `${field} ${rule}`, { field });
}
