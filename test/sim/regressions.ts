/** Seeds that found bugs, one file for each world, with what they found; they are run for ever. */
import { createRequire } from "node:module";
import { type Job, worlds } from "./play.ts";

export interface Regression {
  readonly seed: number;
  /** The bug, in a sentence. */
  readonly found: string;
}

export interface RegressionJob {
  readonly job: Job;
  readonly found: string;
}

export function regressions(): RegressionJob[] {
  const read = createRequire(import.meta.url);
  return worlds.flatMap((world) => {
    const kept = read(`./regressions/${world}.json`) as Regression[];
    return kept.map(({ seed, found }) => ({ job: { world, seed }, found }));
  });
}
