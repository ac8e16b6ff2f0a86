/** Reads the fields of answers: what the server promises must be there. */
import { QuorumQError } from "./errors.ts";

/** A field of what may be an object. */
export function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

/** @throws QuorumQError internal: the answer is not one of our server's */
export function text(body: unknown, name: string): string {
  const value = fieldOf(body, name);
  if (typeof value === "string") return value;
  throw missing(name);
}

/** undefined for an absent or empty one. */
export function maybeText(body: unknown, name: string): string | undefined {
  const value = fieldOf(body, name);
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** @throws QuorumQError internal */
export function number(body: unknown, name: string): number {
  const value = fieldOf(body, name);
  if (typeof value === "number") return value;
  throw missing(name);
}

/** Whether it is there and true. */
export function isTrue(body: unknown, name: string): boolean {
  return fieldOf(body, name) === true;
}

/** @throws QuorumQError internal */
export function list<T>(body: unknown, name: string, read: (item: unknown) => T): readonly T[] {
  const value = fieldOf(body, name);
  if (!Array.isArray(value)) throw missing(name);
  return value.map((item) => read(item));
}

function missing(name: string): QuorumQError {
  return new QuorumQError("internal", `the answer has no ${name}`);
}
