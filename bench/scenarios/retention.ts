/** Finished tasks are removed as fast as they come: full load for minutes, with a short retention. */
import { runLoad } from "../load-process.ts";
import { type Measurement, mean, throughputOf } from "../measurement.ts";
import { batchPlan } from "../plans.ts";
import { verify } from "../verify.ts";
import {
  type BenchContext,
  describePlan,
  durabilityText,
  runOptions,
  withNode,
} from "./scenario.ts";

const payloadBytes = 14;
const full = { warmupMs: 10_000, measureMs: 180_000, doneSeconds: 30 };
const quick = { warmupMs: 3_000, measureMs: 30_000, doneSeconds: 5 };
const diskLookMs = 1_000;
/** How far disk use of the last third may exceed that of the second: compactions come in waves. */
const levelShare = 1.25;

export async function* retention(context: BenchContext): AsyncGenerator<Measurement> {
  const { doneSeconds, ...period } = context.options.isQuick ? quick : full;
  const env = { QUORUMQ_RETENTION_DONE_SECONDS: String(doneSeconds) };
  yield await withNode(context, env, async (node) => {
    const plan = batchPlan(node.target, { ...period, payloadBytes });
    const disk: { readonly atMs: number; readonly bytes: number }[] = [];
    const timer = setInterval(
      () => disk.push({ atMs: performance.now(), bytes: node.diskBytes() }),
      diskLookMs,
    );
    let endMs = 0;
    const outcome = await runLoad(plan, {
      ...runOptions(context, node),
      measured: () => {
        endMs = performance.now();
        clearInterval(timer);
      },
    }).finally(() => clearInterval(timer));
    const throughput = throughputOf(outcome);
    const third = Math.floor(throughput.perSecond.length / 3);
    const first = mean(throughput.perSecond.slice(0, third));
    const last = mean(throughput.perSecond.slice(-third));
    const thirdMs = period.measureMs / 3;
    const diskMaxBefore = (ms: number) =>
      Math.max(
        0,
        ...disk.filter(({ atMs }) => atMs > ms - thirdMs && atMs <= ms).map(({ bytes }) => bytes),
      );
    const lastDisk = diskMaxBefore(endMs);
    const secondDisk = diskMaxBefore(endMs - thirdMs);
    return {
      scenario: "retention",
      label: `${payloadBytes} B × ${plan.batch}, doneSeconds ${doneSeconds}`,
      durability: durabilityText(context),
      throughput,
      figures: {
        firstThird: first,
        lastThird: last,
        diskFirstThird: diskMaxBefore(endMs - 2 * thirdMs),
        diskSecondThird: secondDisk,
        diskLastThird: lastDisk,
      },
      bars: [
        {
          what: "last third of the first",
          value: (last / first) * 100,
          limit: 80,
          direction: "at least",
          unit: "%",
        },
        {
          what: "disk use, last third of the second",
          value: (lastDisk / secondDisk) * 100,
          limit: levelShare * 100,
          direction: "at most",
          unit: "%",
        },
      ],
      problems: await verify(node, outcome, { existing: 0, keepsDone: false }),
      configuration: { ...describePlan(plan), doneSeconds },
    };
  });
}
