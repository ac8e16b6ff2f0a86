/** What the command line of the bench says. */
import { parseArgs } from "node:util";

export const scenarioNames = [
  "cycle",
  "single",
  "http",
  "latency",
  "backlog",
  "retention",
  "idle",
  "crowd",
  "flood",
  "queues",
  "shards",
  "steady",
] as const;

export type ScenarioName = (typeof scenarioNames)[number];

export interface BenchOptions {
  readonly scenarios: readonly ScenarioName[];
  /** Short runs, for a first look; their numbers are not for comparing. */
  readonly isQuick: boolean;
  /** Part of the name of the file of results. */
  readonly name: string;
  /** Sizes for `cycle` and `single`, in bytes. */
  readonly payloads: readonly number[];
  readonly durability: "always" | "interval";
  /** 1, or a cluster of 3. */
  readonly nodes: number;
  /** Shards of the node or cluster. */
  readonly shards: number;
  /** Where data directories are made: must be a real disk, not a tmpfs. */
  readonly folder: string;
  /** Where CPU profiles of node and load are written; null for none. */
  readonly profileFolder: string | null;
}

export const usage = `npm run bench -- [--scenario ${scenarioNames.join("|")}|all] [--quick]
  [--payload 14,1024,16384] [--durability always|interval] [--data <folder>] [--name <name>]
  [--nodes 1|3] [--shards <n>] [--profile <folder>]`;

const payloadsDefault = "14,1024,16384";
const payloadBytesMax = 1024 * 1024;

/** @throws Error with one sentence for the user */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: "string", default: "cycle,single" },
      quick: { type: "boolean", default: false },
      name: { type: "string" },
      payload: { type: "string", default: payloadsDefault },
      durability: { type: "string", default: "always" },
      nodes: { type: "string", default: "1" },
      shards: { type: "string", default: "1" },
      data: { type: "string", default: "/var/tmp" },
      profile: { type: "string" },
    },
  });
  const scenarios =
    values.scenario === "all" ? scenarioNames : values.scenario.split(",").map(toScenario);
  const { durability } = values;
  if (durability !== "always" && durability !== "interval") {
    throw new Error("--durability is always or interval");
  }
  const nodes = Number(values.nodes);
  if (nodes !== 1 && nodes !== 3) throw new Error("--nodes is 1 or 3");
  const shards = Number(values.shards);
  if (!Number.isInteger(shards) || shards < 1 || shards > 256) throw new Error("--shards: 1..256");
  const name = values.name ?? values.scenario.replaceAll(",", "-");
  if (!/^[\w.-]{1,64}$/u.test(name)) throw new Error("--name: letters, digits, dots and dashes");
  return {
    scenarios,
    isQuick: values.quick,
    name: values.quick ? `${name}-quick` : name,
    payloads: values.payload.split(",").map(toPayloadBytes),
    durability,
    nodes,
    shards,
    folder: values.data,
    profileFolder: values.profile ?? null,
  };
}

function toScenario(text: string): ScenarioName {
  const name = scenarioNames.find((known) => known === text);
  if (name === undefined) throw new Error(`--scenario: ${scenarioNames.join(", ")} or all`);
  return name;
}

function toPayloadBytes(text: string): number {
  const bytes = Number(text);
  if (!Number.isInteger(bytes) || bytes < 14 || bytes > payloadBytesMax) {
    throw new Error(`--payload: sizes of 14..${payloadBytesMax} bytes`);
  }
  return bytes;
}
