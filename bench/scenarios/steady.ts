/** Three nodes at full load for ten minutes, the leader stopped for 0.2 s now and then: no election. */
import type { ClusterProcess } from "../cluster-process.ts";
import { runLoad } from "../load-process.ts";
import { sleep } from "../measure/sleep.ts";
import { loopDelayP99Ms, type Measurement, throughputOf } from "../measurement.ts";
import { batchPlan } from "../plans.ts";
import { verify } from "../verify.ts";
import {
  type BenchContext,
  describePlan,
  durabilityText,
  runOptions,
  withCluster,
} from "./scenario.ts";

const nodes = 3;
const payloadBytes = 14;
const lengthMs = { quick: 60_000, full: 600_000 };
const warmupMs = 10_000;
/** A pause of the process that must not cost it the lead, and how often there is one. */
const stallMs = 200;
const stallEveryMs = 20_000;

export async function* steady(context: BenchContext): AsyncGenerator<Measurement> {
  const options = { ...context.options, nodes };
  const measureMs = options.isQuick ? lengthMs.quick : lengthMs.full;
  yield await withCluster({ options }, {}, async (cluster) => {
    const node = await cluster.leader();
    const before = await cluster.terms();
    const plan = batchPlan(node.target, { warmupMs, measureMs, payloadBytes });
    let isMeasured = false;
    const loaded = runLoad(plan, {
      ...runOptions(context, node),
      measured: () => {
        isMeasured = true;
      },
    });
    const stalls = await stall(cluster, () => isMeasured);
    const outcome = await loaded;
    const after = await cluster.terms();
    const elections = after.reduce((sum, term, shard) => sum + term - (before[shard] ?? 0), 0);
    return {
      scenario: "steady",
      label: `${measureMs / 1000} s of ${payloadBytes} B × ${plan.batch}, ${stalls} stalls of ${stallMs} ms`,
      durability: durabilityText({ ...context, options }),
      throughput: throughputOf(outcome),
      figures: { elections, stalls, loopDelayP99Ms: await loopDelayP99Ms(node) },
      bars: [{ what: "elections", value: elections, limit: 0, direction: "at most", unit: "" }],
      problems: await verify(node, outcome, { existing: 0, keepsDone: true }),
      configuration: describePlan(plan),
    };
  });
}

/** Stops the leader for a moment, again and again. @returns how often */
async function stall(cluster: ClusterProcess, isOver: () => boolean): Promise<number> {
  let stalls = 0;
  let nextMs = performance.now() + stallEveryMs;
  while (!isOver()) {
    await sleep(stallMs);
    if (performance.now() < nextMs) continue;
    const leader = await cluster.leader();
    leader.signal("SIGSTOP");
    await sleep(stallMs);
    leader.signal("SIGCONT");
    stalls++;
    nextMs += stallEveryMs;
  }
  return stalls;
}
