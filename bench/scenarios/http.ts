/** Full cycles over HTTP: three requests per task, no batch routes. */
import { runLoad } from "../load-process.ts";
import { loopDelayP99Ms, type Measurement, throughputOf } from "../measurement.ts";
import { httpPlan, periodOf } from "../plans.ts";
import { verify } from "../verify.ts";
import { type BenchContext, durabilityText, runOptions, withNode } from "./scenario.ts";

const payloadBytes = 14;

export async function* http(context: BenchContext): AsyncGenerator<Measurement> {
  yield await withNode(context, {}, async (node) => {
    const plan = httpPlan(node.target, { ...periodOf(context.options.isQuick), payloadBytes });
    const outcome = await runLoad(plan, runOptions(context, node));
    const throughput = throughputOf(outcome);
    return {
      scenario: "http",
      label: `${payloadBytes} B, ${plan.clients} clients`,
      durability: durabilityText(context),
      throughput,
      figures: { loopDelayP99Ms: await loopDelayP99Ms(node) },
      bars: [
        {
          what: "cycles over HTTP",
          value: throughput.cyclesPerSecond,
          limit: 4_500,
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
  });
}
