/** What the command line of bench:failover says. */
import { parseArgs } from "node:util";
import { type ModeName, modeNames } from "./modes.ts";

export interface FailoverOptions {
  readonly modes: readonly ModeName[];
  /** Of each mode; a planned transfer is tried five times as often. */
  readonly trials: number;
  readonly shards: number;
  /** Whether a load runs beside the trials, as fast as it can. */
  readonly hasLoad: boolean;
  readonly name: string;
  readonly folder: string;
}

export const usage = `npm run bench:failover -- [--mode ${modeNames.join(",")}] [--trials 20]
  [--shards <n>] [--idle] [--data <folder>] [--name <name>]`;

/** @throws Error with one sentence for the user */
export function parseFailoverOptions(args: readonly string[]): FailoverOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mode: { type: "string", default: modeNames.join() },
      trials: { type: "string", default: "20" },
      shards: { type: "string", default: "1" },
      idle: { type: "boolean", default: false },
      data: { type: "string", default: "/var/tmp" },
      name: { type: "string", default: "failover" },
    },
  });
  const trials = Number(values.trials);
  if (!Number.isInteger(trials) || trials < 1 || trials > 1_000) {
    throw new Error("--trials: 1..1000");
  }
  const shards = Number(values.shards);
  if (!Number.isInteger(shards) || shards < 1 || shards > 256) throw new Error("--shards: 1..256");
  if (!/^[\w.-]{1,64}$/u.test(values.name)) {
    throw new Error("--name: letters, digits, dots and dashes");
  }
  return {
    modes: values.mode.split(",").map(toMode),
    trials,
    shards,
    hasLoad: !values.idle,
    name: values.name,
    folder: values.data,
  };
}

function toMode(text: string): ModeName {
  const name = modeNames.find((known) => known === text);
  if (name === undefined) throw new Error(`--mode: ${modeNames.join(", ")}`);
  return name;
}
