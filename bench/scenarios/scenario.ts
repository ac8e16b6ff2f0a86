/** What every scenario gets, and the node it asks for. */

import { ClusterProcess } from "../cluster-process.ts";
import type { StreamPlan } from "../load/protocol.ts";
import type { RunOptions } from "../load-process.ts";
import type { Machine } from "../measure/machine.ts";
import type { Measurement } from "../measurement.ts";
import { type NodeOptions, NodeProcess } from "../node-process.ts";
import type { BenchOptions } from "../options.ts";

export interface BenchContext {
  readonly options: BenchOptions;
  readonly machine: Machine;
}

/** Yields each measurement as soon as it is there. */
export type Scenario = (context: BenchContext) => AsyncGenerator<Measurement>;

/** Starts a node in its default configuration but for `env`, and stops it after `use`. */
export async function withNode<T>(
  { options }: Pick<BenchContext, "options">,
  env: Readonly<Record<string, string>>,
  use: (node: NodeProcess) => Promise<T>,
): Promise<T> {
  if (options.nodes > 1) {
    return withCluster({ options }, env, async (cluster) => use(await cluster.leader()));
  }
  const node = await NodeProcess.start(nodeOptions(options, env));
  try {
    return await use(node);
  } catch (error) {
    // the load only saw its connections break
    if (node.death !== null) throw new Error(node.death, { cause: error });
    throw error;
  } finally {
    await node.stop();
  }
}

/** Starts as many nodes as were asked for, and stops them after `use`. */
export async function withCluster<T>(
  { options }: Pick<BenchContext, "options">,
  env: Readonly<Record<string, string>>,
  use: (cluster: ClusterProcess) => Promise<T>,
): Promise<T> {
  const cluster = await ClusterProcess.start(nodeOptions(options, env), options.nodes);
  try {
    return await use(cluster);
  } catch (error) {
    const dead = cluster.nodes.find(({ death }) => death !== null);
    if (dead) throw new Error(dead.death ?? "", { cause: error });
    throw error;
  } finally {
    await cluster.stop();
  }
}

export function runOptions({ options }: BenchContext, node: NodeProcess): RunOptions {
  return { serverPid: node.pid, execArgv: profileArgv(options) };
}

/** The words that stand in every line. */
export function durabilityText({ options }: BenchContext): string {
  if (options.durability !== "always") return "fsync every 100 ms";
  return options.nodes === 1 ? "fsync before every ack" : "fsync on a majority before every ack";
}

/** The shape of a load without secrets and addresses. */
export function describePlan(plan: StreamPlan): Record<string, unknown> {
  const { target: _target, ...shape } = plan;
  return shape;
}

function durabilityEnv({ durability }: BenchOptions): Record<string, string> {
  return durability === "always" ? {} : { QUORUMQ_STORAGE_DURABILITY: durability };
}

function nodeOptions(options: BenchOptions, env: Readonly<Record<string, string>>): NodeOptions {
  const shards = options.shards === 1 ? {} : { QUORUMQ_STORAGE_NUM_SHARDS: String(options.shards) };
  return {
    folder: options.folder,
    env: { ...durabilityEnv(options), ...shards, ...env },
    execArgv: profileArgv(options),
  };
}

function profileArgv({ profileFolder }: BenchOptions): string[] {
  return profileFolder === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`];
}
