/** A node without work: alone, and with a thousand workers connected that wait. */
import { runLoad } from "../load-process.ts";
import { UsageWatch } from "../measure/process-usage.ts";
import { sleep } from "../measure/sleep.ts";
import type { Measurement } from "../measurement.ts";
import { queue } from "../plans.ts";
import { ledgerProblems } from "../verify.ts";
import { type BenchContext, durabilityText, runOptions, withNode } from "./scenario.ts";

const workers = 1_000;
/** After the start, until caches are filled and code is compiled. */
const settleMs = 5_000;
const watchMs = { quick: 10_000, full: 60_000 };

export async function* idle(context: BenchContext): AsyncGenerator<Measurement> {
  const measureMs = context.options.isQuick ? watchMs.quick : watchMs.full;
  yield await withNode(context, {}, async (node) => {
    await sleep(settleMs);
    const watch = new UsageWatch(node.pid);
    await sleep(measureMs);
    const alone = watch.stop();
    const waited = await runLoad(
      { kind: "wait", target: node.target, queue, workers, measureMs },
      runOptions(context, node),
    );
    const aloneShare = (alone.cpuMs / measureMs) * 100;
    const waitedShare = (waited.server.cpuMs / waited.elapsedMs) * 100;
    return {
      scenario: "idle",
      label: `alone, and with ${workers} waiting workers`,
      durability: durabilityText(context),
      figures: {
        cpuPercentAlone: aloneShare,
        cpuPercentWithWorkers: waitedShare,
        rssAlone: alone.rssMax,
        rssWithWorkers: waited.server.rssMax,
      },
      bars: [
        {
          what: "CPU alone",
          value: aloneShare,
          limit: 1,
          direction: "at most",
          unit: "% of a core",
        },
        {
          what: `CPU with ${workers} workers`,
          value: waitedShare,
          limit: 3,
          direction: "at most",
          unit: "% of a core",
        },
      ],
      problems: ledgerProblems(waited),
      configuration: { workers },
    };
  });
}
