/**
 * Four shards on three nodes beside one, in turns: what splitting costs where the machine is the
 * same, how evenly leaders and tasks are spread. Once with the load of `cycle`, of which each shard
 * gets a quarter, and once with as much for each shard as `cycle` has for its one.
 */
import type { ClusterProcess } from "../cluster-process.ts";
import type { Period, StreamPlan, Target } from "../load/protocol.ts";
import { type LoadOutcome, runLoad } from "../load-process.ts";
import { type Bar, type Measurement, mean, median, throughputOf } from "../measurement.ts";
import type { NodeProcess } from "../node-process.ts";
import { batchPlan } from "../plans.ts";
import { ledgerProblems } from "../verify.ts";
import {
  type BenchContext,
  describePlan,
  durabilityText,
  runOptions,
  withCluster,
} from "./scenario.ts";

const rounds = { quick: 1, full: 5 };
const manyShards = 4;
const payloadBytes = 14;
const nodes = 3;
/** Load in multiples of that of `cycle`; the bar is for the one that fills every shard. */
const depths = [1, manyShards];
/**
 * Many short runs: what differs between two of them is the machine's mood. Three processes compile
 * what one compiles otherwise: measured after 3 s of warm-up four shards lose 5 % by it.
 */
const period: Period = { warmupMs: 10_000, measureMs: 10_000 };

interface Run {
  readonly outcome: LoadOutcome;
  readonly rate: number;
  /** Shards that each node leads. */
  readonly led: readonly number[];
}

export async function* shards(context: BenchContext): AsyncGenerator<Measurement> {
  for (const depth of depths) yield await compare(context, depth);
}

async function compare(context: BenchContext, depth: number): Promise<Measurement> {
  const one: Run[] = [];
  const many: Run[] = [];
  const count = context.options.isQuick ? rounds.quick : rounds.full;
  for (let round = 0; round < count; round++) {
    one.push(await measure(context, depth, 1));
    many.push(await measure(context, depth, manyShards));
  }
  const rates = [one, many].map((runs) => median(runs.map(({ rate }) => rate)));
  const [alone, split] = rates as [number, number];
  const middle = many.find(({ rate }) => rate === split) ?? (many[0] as Run);
  const target = { grpc: "", http: "", token: "" };
  return {
    scenario: "shards",
    label: `${manyShards} on ${nodes} nodes, beside 1, load × ${depth}, median of ${count}`,
    durability: durabilityText({ ...context, options: { ...context.options, nodes } }),
    throughput: throughputOf(middle.outcome),
    figures: {
      oneShardCyclesPerSecond: alone,
      cyclesPerSecond: split,
      shareOfOneShardPercent: (split / alone) * 100,
    },
    bars: barsOf(depth === manyShards ? split / alone : null, many),
    problems: [...one, ...many].flatMap(({ outcome }) => ledgerProblems(outcome)),
    configuration: describePlan(planOf(target, depth)),
  };
}

function planOf(target: Target, depth: number): StreamPlan {
  const plan = batchPlan(target, { ...period, payloadBytes });
  return {
    ...plan,
    window: plan.window * depth,
    readys: plan.readys * depth,
    aheadMax: plan.aheadMax * depth,
  };
}

function measure(context: BenchContext, depth: number, shardCount: number): Promise<Run> {
  const options = { ...context.options, nodes, shards: shardCount };
  return withCluster({ options }, {}, async (cluster) => {
    const leaders = await leadersOf(cluster, shardCount);
    const spread = leaders.map(({ target }) => target.grpc);
    const node = await cluster.leader();
    const outcome = await runLoad(
      { ...planOf(cluster.target, depth), spread, shards: shardCount },
      runOptions(context, node),
    );
    const led = cluster.nodes.map((one) => leaders.filter((leader) => leader === one).length);
    return { outcome, rate: mean(outcome.cyclesPerSecond), led };
  });
}

/** Of each shard, once they are spread. */
async function leadersOf(
  cluster: ClusterProcess,
  shardCount: number,
): Promise<readonly NodeProcess[]> {
  await cluster.balanced();
  const leaders: NodeProcess[] = [];
  for (let shard = 0; shard < shardCount; shard++) leaders.push(await cluster.leader(shard));
  return leaders;
}

/** @param ratio - null: not to be judged */
function barsOf(ratio: number | null, runs: readonly Run[]): Bar[] {
  const unevenness = runs.map(({ outcome: { perShard } }) => {
    const even = mean(perShard);
    return Math.max(...perShard.map((tasks) => Math.abs(tasks / even - 1)));
  });
  const share: Bar[] =
    ratio === null
      ? []
      : [
          {
            what: "of the rate of one shard",
            value: ratio * 100,
            limit: 90,
            direction: "at least",
            unit: "%",
          },
        ];
  return [
    ...share,
    {
      what: "difference in shards led",
      value: Math.max(...runs.map(({ led }) => Math.max(...led) - Math.min(...led))),
      limit: 1,
      direction: "at most",
      unit: "shards",
    },
    {
      what: "a shard's tasks off the mean",
      value: median(unevenness) * 100,
      limit: 20,
      direction: "at most",
      unit: "%",
    },
  ];
}
