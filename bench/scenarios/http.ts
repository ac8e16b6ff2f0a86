/** Full cycles over HTTP: three requests per task, no batch routes. */
import { runLoad } from "../load-process.ts";
import { loopDelayP99Ms, type Measurement, throughputOf } from "../measurement.ts";
import type { NodeProcess } from "../node-process.ts";
import { httpPlan, periodOf } from "../plans.ts";
import { verify } from "../verify.ts";
import {
  type BenchContext,
  durabilityText,
  runOptions,
  withCluster,
  withNode,
} from "./scenario.ts";

const payloadBytes = 14;
/** Cycles per second: on one node, on three straight to the leader, and by redirects. */
const bars = { alone: 4_500, leader: 2_600, redirects: 1_500 };

/** On a cluster twice: straight to the leader, and by redirects from every node. */
export async function* http(context: BenchContext): AsyncGenerator<Measurement> {
  if (context.options.nodes === 1) {
    yield await withNode(context, {}, (node) =>
      measure(context, node, { urls: [node.target.http], how: "", bar: bars.alone }),
    );
    return;
  }
  yield await withCluster(context, {}, async (cluster) => {
    const leader = await cluster.leader();
    const urls = [leader.target.http];
    return measure(context, leader, { urls, how: ", straight to the leader", bar: bars.leader });
  });
  yield await withCluster(context, {}, async (cluster) => {
    const urls = cluster.nodes.map(({ target }) => target.http);
    const how = ", by redirects from every node";
    return measure(context, await cluster.leader(), { urls, how, bar: bars.redirects });
  });
}

async function measure(
  context: BenchContext,
  node: NodeProcess,
  way: { readonly urls: readonly string[]; readonly how: string; readonly bar: number },
): Promise<Measurement> {
  const { urls, how, bar } = way;
  const shape = { ...periodOf(context.options.isQuick), payloadBytes };
  const plan = httpPlan(node.target, shape, urls);
  const outcome = await runLoad(plan, runOptions(context, node));
  const throughput = throughputOf(outcome);
  return {
    scenario: "http",
    label: `${payloadBytes} B, ${plan.clients} clients${how}`,
    durability: durabilityText(context),
    throughput,
    figures: { loopDelayP99Ms: await loopDelayP99Ms(node) },
    bars: [
      {
        what: "cycles over HTTP",
        value: throughput.cyclesPerSecond,
        limit: bar,
        direction: "at least",
        unit: "cycles/s",
      },
    ],
    problems: await verify(node, outcome, { existing: 0, keepsDone: true }),
    configuration: {
      clients: plan.clients,
      payloadBytes,
      period: periodOf(context.options.isQuick),
    },
  };
}
