/** The canonical workload: create, claim, complete, every step acknowledged. */
import type { StreamPlan, Target } from "../load/protocol.ts";
import { runLoad } from "../load-process.ts";
import { type Bar, loopDelayP99Ms, type Measurement, throughputOf } from "../measurement.ts";
import { batchPlan, periodOf, type Shape, singlePlan } from "../plans.ts";
import { verify } from "../verify.ts";
import {
  type BenchContext,
  describePlan,
  durabilityText,
  runOptions,
  withNode,
} from "./scenario.ts";

/** The bars are for the canonical payload. */
const canonicalBytes = 14;
/** Cycles per second of `single`, on one node and on three. */
const singleBars = { alone: 12_000, cluster: 6_000 };

/** 128 tasks per message. */
export async function* cycle(context: BenchContext): AsyncGenerator<Measurement> {
  for (const payloadBytes of context.options.payloads) {
    yield await measure(context, "cycle", payloadBytes, batchPlan);
  }
}

/** One task per message. */
export async function* single(context: BenchContext): AsyncGenerator<Measurement> {
  for (const payloadBytes of context.options.payloads) {
    yield await measure(context, "single", payloadBytes, singlePlan);
  }
}

function measure(
  context: BenchContext,
  scenario: "cycle" | "single",
  payloadBytes: number,
  planOf: (target: Target, shape: Shape) => StreamPlan,
): Promise<Measurement> {
  return withNode(context, {}, async (node) => {
    const plan = planOf(node.target, { ...periodOf(context.options.isQuick), payloadBytes });
    const outcome = await runLoad(plan, runOptions(context, node));
    const throughput = throughputOf(outcome);
    const loopDelayMs = await loopDelayP99Ms(node);
    const bars: Bar[] = [
      {
        what: "slowest 5 s of the mean",
        value: throughput.slowest5sShare * 100,
        limit: 60,
        direction: "at least",
        unit: "%",
      },
      {
        what: "event-loop delay p99",
        value: loopDelayMs,
        limit: 20,
        direction: "at most",
        unit: "ms",
      },
    ];
    if (scenario === "single" && payloadBytes === canonicalBytes) {
      bars.push({
        what: "one task per message",
        value: throughput.cyclesPerSecond,
        limit: context.options.nodes === 1 ? singleBars.alone : singleBars.cluster,
        direction: "at least",
        unit: "cycles/s",
      });
    }
    return {
      scenario,
      label: `${payloadBytes} B × ${plan.batch}`,
      durability: durabilityText(context),
      throughput,
      figures: { loopDelayP99Ms: loopDelayMs },
      bars,
      problems: await verify(node, outcome, { existing: 0, keepsDone: true }),
      configuration: describePlan(plan),
    };
  });
}
