/** Seeds that found bugs, one file each with what they found; they are run for ever. */
import { createRequire } from "node:module";

export interface Regression {
  readonly seed: number;
  /** The bug, in a sentence. */
  readonly found: string;
}

const names = ["shard"];

export function regressions(): Regression[] {
  const read = createRequire(import.meta.url);
  return names.flatMap((name) => read(`./regressions/${name}.json`) as Regression[]);
}
