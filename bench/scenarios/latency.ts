/** One task alone, no load: the time of a create, and of a delivery to a worker that waits. */
import { runLoad } from "../load-process.ts";
import type { Measurement } from "../measurement.ts";
import { queue } from "../plans.ts";
import { ledgerProblems } from "../verify.ts";
import { type BenchContext, durabilityText, runOptions, withNode } from "./scenario.ts";

/** Disks slower than this get twice the difference more time (a create syncs once, a delivery twice). */
const fsyncMsExpected = 0.3;
const repetitions = { quick: 200, full: 500 };

export async function* latency(context: BenchContext): AsyncGenerator<Measurement> {
  const { options, machine } = context;
  const allowance = 2 * Math.max(0, machine.fsyncMs - fsyncMsExpected);
  yield await withNode(context, {}, async (node) => {
    const count = options.isQuick ? repetitions.quick : repetitions.full;
    const outcome = await runLoad(
      { kind: "latency", target: node.target, queue, repetitions: count },
      runOptions(context, node),
    );
    const { createAck, endToEnd: delivery } = outcome;
    return {
      scenario: "latency",
      label: `14 B, one at a time, ${count} times`,
      durability: durabilityText(context),
      figures: {
        createAckP50Ms: createAck.p50Ms,
        createAckP99Ms: createAck.p99Ms,
        deliveryP50Ms: delivery.p50Ms,
        deliveryP99Ms: delivery.p99Ms,
        fsyncMs: machine.fsyncMs,
      },
      bars: [
        {
          what: "create acknowledged, p99",
          value: createAck.p99Ms,
          limit: 3 + allowance,
          direction: "at most",
          unit: "ms",
        },
        {
          what: "create sent to delivered, p99",
          value: delivery.p99Ms,
          limit: 6 + allowance,
          direction: "at most",
          unit: "ms",
        },
      ],
      problems: ledgerProblems(outcome),
      configuration: { repetitions: count },
    };
  });
}
