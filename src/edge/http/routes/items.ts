/** Items of a batch, each checked by itself so that a bad one does not spoil the others. */
import type Type from "typebox";
import type { Call } from "../context.ts";
import { dropEmpty, type SchemaComplaint, toValidationError } from "../validation.ts";

/**
 * @param path - `tasks[3]`, for errors
 * @returns the item, of the type that its schema describes
 * @throws QueueError invalid_argument, naming the field
 */
export function checkItem<T>(call: Call, schema: Type.TSchema, value: unknown, path: string): T {
  const isObject = typeof value === "object" && value !== null;
  if (call.dialect === "codeq" && isObject) dropEmpty(value as Record<string, unknown>);
  // Compiled at first use and kept by fastify, per route.
  const validate = call.request.compileValidationSchema(schema, "body");
  if (!validate(value)) {
    throw toValidationError(validate.errors?.[0] as SchemaComplaint | undefined, path);
  }
  return value as T;
}
