/** One client sends at full speed and never reads an answer: what another one notices of it. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { FloodKind, FloodOrder } from "../flood-child.ts";
import { UsageWatch } from "../measure/process-usage.ts";
import { sleep } from "../measure/sleep.ts";
import type { Measurement } from "../measurement.ts";
import { probe } from "../probe.ts";
import { type BenchContext, durabilityText, withNode } from "./scenario.ts";

const probeMs = { quick: 5_000, full: 20_000 };
/** Until the flood runs. */
const startMs = 2_000;
const entry = fileURLToPath(new URL("../flood-child.ts", import.meta.url));

const kinds: Readonly<Record<FloodKind, string>> = {
  http: "creates over HTTP on four connections",
  producer: "creates on four producers' streams",
  worker: "Readys and heartbeats on four workers' streams",
};

export async function* flood(context: BenchContext): AsyncGenerator<Measurement> {
  for (const kind of Object.keys(kinds) as FloodKind[]) yield await floodWith(context, kind);
}

function floodWith(context: BenchContext, kind: FloodKind): Promise<Measurement> {
  const ms = context.options.isQuick ? probeMs.quick : probeMs.full;
  return withNode(context, {}, async (node) => {
    await probe(node.target, ms / 2);
    const before = new UsageWatch(node.pid);
    const alone = await probe(node.target, ms);
    const { rssMax: rssBefore } = before.stop();
    const watch = new UsageWatch(node.pid);
    const child = fork(entry, [], { execArgv: ["--import", "tsx"] });
    child.send({ kind, target: node.target } satisfies FloodOrder);
    await sleep(startMs);
    const beside = await probe(node.target, ms);
    const { rssMax } = watch.stop();
    const reached = await floodReached(node, kind);
    child.disconnect();
    const grown = rssMax - rssBefore;
    return {
      scenario: "flood",
      label: `one client sends ${kinds[kind]} at full speed and never reads`,
      durability: durabilityText(context),
      figures: {
        rssBefore,
        rssMax,
        taken: reached,
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
      problems: reached > 0 ? [] : ["the flood did not reach the node"],
      configuration: { kind, probeMs: ms },
    };
  });
}

/** Tasks that the flood made before its answers were full, or streams of a worker that it has open. */
async function floodReached(
  node: { get(path: string): Promise<string> },
  kind: FloodKind,
): Promise<number> {
  const metrics = await node.get("/metrics");
  const row =
    kind === "worker"
      ? /^quorumq_grpc_streams\{[^}]*service="worker"\} (\d+)/mu.exec(metrics)
      : /^quorumq_queue_tasks\{[^}]*queue="flood",state="ready"\} (\d+)/mu.exec(metrics);
  return Number(row?.[1] ?? 0);
}
