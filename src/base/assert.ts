/**
 * Invariants. A failed one is a bug of ours: it stops the node, in production too,
 * because a queue that goes on with a broken state would lie.
 */

export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Stops with the name of the rule and the values that broke it. */
export function assert(condition: boolean, rule: string, ...values: unknown[]): asserts condition {
  if (!condition) {
    throw new InvariantError(`${rule}: ${values.map(String).join(", ")}`);
  }
}

/** Closes a switch over a union. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`);
}

/** For values that the surrounding code has already proven present. */
export function present<T>(value: T | undefined | null, rule: string): T {
  if (value === undefined || value === null) throw new InvariantError(`missing: ${rule}`);
  return value;
}
