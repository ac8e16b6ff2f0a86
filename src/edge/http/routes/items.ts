/** Items of a batch, each checked by itself so that a bad one does not spoil the others. */
import type Type from "typebox";
import { errorCodes, type QueueError } from "../../../base/errors.ts";
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

interface Answers {
  readonly count: number;
  readonly codes: Uint8Array;
  error(i: number): QueueError | undefined;
}

/**
 * Whether a batch concerns nothing that this node leads: then the caller is sent to a leader with all
 * of it (SPEC section 7). Items that were refused for what they are do not count.
 */
export function allElsewhere(answers: readonly Answers[]): QueueError | undefined {
  const { number } = errorCodes.not_leader;
  let first: QueueError | undefined;
  for (const { count, codes, error } of answers.map(bound)) {
    for (let i = 0; i < count; i++) {
      if (codes[i] === number) first ??= error(i);
      else if (codes[i] !== errorCodes.invalid_argument.number) return undefined;
    }
  }
  return first;
}

function bound(answers: Answers): Answers {
  const { count, codes } = answers;
  return { count, codes, error: (i) => answers.error(i) };
}
