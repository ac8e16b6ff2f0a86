/** Plays one seed in one of the worlds: a lone node, a cluster, a cluster for a long time. */
import { simulateCluster } from "./cluster/cluster-sim.ts";
import { clusterScenario, longScenario } from "./cluster/scenario.ts";
import { createScenario } from "./scenario.ts";
import { simulate } from "./simulation.ts";

export const worlds = ["node", "cluster", "long"] as const;
export type WorldName = (typeof worlds)[number];

export interface Job {
  readonly world: WorldName;
  /** u32 */
  readonly seed: number;
}

/** What happened in a run; the sums over many runs are what a simulation was worth. */
export interface Figures {
  readonly simulatedMs: number;
  readonly events: number;
  /** Operations that a client got an answer to. */
  readonly acknowledged: number;
  readonly faults: number;
  /** Processes and machines that ended in the middle of what they did. */
  readonly crashes: number;
  readonly partitions: number;
  /** Replicas that went on from a state they were given. */
  readonly snapshots: number;
  readonly memberChanges: number;
  readonly leaders: number;
}

export type Outcome =
  | {
      readonly kind: "passed";
      readonly job: Job;
      /** Over everything that happened: equal for equal runs. */
      readonly hash: string;
      readonly figures: Figures;
    }
  | { readonly kind: "failed"; readonly job: Job; readonly text: string };

/** A failure comes with the command that repeats it. */
export async function play(job: Job, log: ((line: string) => void) | null): Promise<Outcome> {
  const stray: unknown[] = [];
  const note = (error: unknown) => void stray.push(error);
  process.on("unhandledRejection", note);
  try {
    const { hash, ...figures } = await run(job, log);
    // Rejections that nobody handles are told once the loop has turned.
    await new Promise((resolve) => setImmediate(resolve));
    if (stray.length > 0) throw stray[0];
    return { kind: "passed", job, hash, figures };
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const text = `${nameOf(job)} fails: ${what}\n  again: npm run sim -- ${argumentsOf(job)}`;
    return { kind: "failed", job, text };
  } finally {
    process.off("unhandledRejection", note);
  }
}

function run({ world, seed }: Job, log: ((line: string) => void) | null) {
  switch (world) {
    case "node":
      return simulate(createScenario(seed), log);
    case "cluster":
      return simulateCluster(clusterScenario(seed), log);
    case "long":
      return simulateCluster(longScenario(seed), log);
  }
}

function seedText(seed: number): string {
  return `0x${seed.toString(16)}`;
}

function nameOf({ world, seed }: Job): string {
  return `${world} ${seedText(seed)}`;
}

export function argumentsOf({ world, seed }: Job): string {
  return `--world ${world} --seed ${seedText(seed)}`;
}
