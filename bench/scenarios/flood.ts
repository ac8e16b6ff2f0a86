/** One client sends at full speed and never reads an answer: what another one notices of it. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { UsageWatch } from "../measure/process-usage.ts";
import { sleep } from "../measure/sleep.ts";
import type { Measurement } from "../measurement.ts";
import { probe } from "../probe.ts";
import { type BenchContext, durabilityText, withNode } from "./scenario.ts";

const probeMs = { quick: 5_000, full: 20_000 };
/** Until the flood runs. */
const startMs = 2_000;
const entry = fileURLToPath(new URL("../flood-child.ts", import.meta.url));

export async function* flood(context: BenchContext): AsyncGenerator<Measurement> {
  const ms = context.options.isQuick ? probeMs.quick : probeMs.full;
  yield await withNode(context, {}, async (node) => {
    await probe(node.target, ms / 2);
    const before = new UsageWatch(node.pid);
    const alone = await probe(node.target, ms);
    const { rssMax: rssBefore } = before.stop();
    const watch = new UsageWatch(node.pid);
    const child = fork(entry, [], { execArgv: ["--import", "tsx"] });
    child.send(node.target);
    await sleep(startMs);
    const beside = await probe(node.target, ms);
    const { rssMax } = watch.stop();
    const taken = await floodTasks(node);
    child.disconnect();
    const grown = rssMax - rssBefore;
    return {
      scenario: "flood",
      label: "one client sends at full speed and never reads, over HTTP and gRPC",
      durability: durabilityText(context),
      figures: {
        rssBefore,
        rssMax,
        floodTasks: taken,
        p99MsAlone: alone.p99Ms,
        p99MsBeside: beside.p99Ms,
        p50MsAlone: alone.p50Ms,
        p50MsBeside: beside.p50Ms,
      },
      bars: [
        {
          what: "p99 of another client",
          value: beside.p99Ms / alone.p99Ms,
          limit: 2,
          direction: "at most",
          unit: "times what it is alone",
        },
        {
          what: "growth of RSS",
          value: grown / 2 ** 20,
          limit: 64,
          direction: "at most",
          unit: "MiB",
        },
      ],
      problems: taken > 0 ? [] : ["the flood did not reach the node"],
      configuration: { probeMs: ms },
    };
  });
}

/** Tasks that the flood made before its answers were full. */
async function floodTasks(node: { get(path: string): Promise<string> }): Promise<number> {
  const metrics = await node.get("/metrics");
  const row = /^quorumq_queue_tasks\{[^}]*queue="flood",state="ready"\} (\d+)/mu.exec(metrics);
  return Number(row?.[1] ?? 0);
}
