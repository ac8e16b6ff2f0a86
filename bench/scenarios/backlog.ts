/**
 * A million ready tasks in the queue that is under load: memory while they are made and drained,
 * the restart after a kill, and what is left of the throughput.
 */
import { runLoad } from "../load-process.ts";
import { UsageWatch } from "../measure/process-usage.ts";
import { type Measurement, throughputOf } from "../measurement.ts";
import type { NodeProcess } from "../node-process.ts";
import { batchPlan, periodOf, queue } from "../plans.ts";
import { ledgerProblems, verify } from "../verify.ts";
import {
  type BenchContext,
  describePlan,
  durabilityText,
  runOptions,
  withNode,
} from "./scenario.ts";

const tasks = 1_000_000;
const payloadBytes = 100;

export async function* backlog(context: BenchContext): AsyncGenerator<Measurement> {
  yield await withNode(context, {}, (node) => measure(context, node));
}

async function measure(context: BenchContext, node: NodeProcess): Promise<Measurement> {
  const shape = { ...periodOf(context.options.isQuick), payloadBytes };
  const plan = batchPlan(node.target, shape);
  const without = await runLoad(plan, runOptions(context, node));
  const made = await runLoad(
    { kind: "fill", target: node.target, queue, payloadBytes, tasks },
    runOptions(context, node),
  );
  await node.kill();
  const restartMs = await node.launch();
  const drainWatch = new UsageWatch(node.pid);
  const loaded = batchPlan(node.target, { ...shape, existing: tasks });
  const withBacklog = await runLoad(loaded, runOptions(context, node));
  const drained = drainWatch.stop();
  const throughput = throughputOf(withBacklog);
  const share = throughput.cyclesPerSecond / throughputOf(without).cyclesPerSecond;
  const rssMax = Math.max(made.server.rssMax, drained.rssMax);
  const problems = [
    ...ledgerProblems(without),
    ...(await verify(node, withBacklog, { existing: tasks, keepsDone: true })),
  ];
  if (made.counts.created !== tasks) problems.push(`${made.counts.created} of ${tasks} were made`);
  return {
    scenario: "backlog",
    label: `${payloadBytes} B × ${plan.batch}, ${tasks} tasks ready`,
    durability: durabilityText(context),
    throughput,
    figures: {
      restartMs,
      cyclesPerSecondWithout: throughputOf(without).cyclesPerSecond,
      createsPerSecondToFill: (tasks * 1000) / made.elapsedMs,
      rssMaxMadeAndDrained: rssMax,
      mappedMax: Math.max(made.server.mappedMax, drained.mappedMax),
    },
    bars: [
      { what: "RSS", value: rssMax / 1e6, limit: 500, direction: "at most", unit: "MB" },
      { what: "restart", value: restartMs / 1000, limit: 5, direction: "at most", unit: "s" },
      {
        what: "of the throughput without",
        value: share * 100,
        limit: 80,
        direction: "at least",
        unit: "%",
      },
    ],
    problems,
    configuration: describePlan(loaded),
  };
}
