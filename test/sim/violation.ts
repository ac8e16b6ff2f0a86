/** Something that must never happen has happened: the seed fails. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export function must(condition: boolean, rule: string, ...values: unknown[]): asserts condition {
  if (!condition) throw new Violation(`${rule}: ${values.map(String).join(", ")}`);
}
