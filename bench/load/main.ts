/**
 * The load process: takes one plan from its parent, runs it, says the result and ends. Anything
 * thrown anywhere ends it as failed: a load that lost a part of itself measures something else.
 */
import { loadClientBuild } from "./client-build.ts";
import { runHttp } from "./http-load.ts";
import { runLatency } from "./latency-load.ts";
import type { LoadEvent, LoadPlan, LoadResult } from "./protocol.ts";
import { runFill, runStreams } from "./stream-load.ts";
import { runWait } from "./wait-load.ts";

function say(event: LoadEvent): void {
  process.send?.(event);
}

async function run(plan: LoadPlan): Promise<LoadResult> {
  switch (plan.kind) {
    case "streams":
      return runStreams(await loadClientBuild(), plan, say);
    case "fill":
      return runFill(await loadClientBuild(), plan, say);
    case "latency":
      return runLatency(await loadClientBuild(), plan, say);
    case "wait":
      return runWait(await loadClientBuild(), plan, say);
    case "http":
      return runHttp(plan, say);
    // only the load that is run has a peer's client in its memory
    case "nats":
      return (await import("./nats-load.ts")).runNats(plan, say);
    case "bullmq":
      return (await import("./bullmq-load.ts")).runBullmq(plan, say);
    case "rabbitmq":
      return (await import("./rabbitmq-load.ts")).runRabbitmq(plan, say);
    default: {
      const unknown: never = plan;
      throw new Error(`no such plan: ${JSON.stringify(unknown)}`);
    }
  }
}

function fail(thrown: unknown): void {
  const reason = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  process.send?.({ kind: "failed", reason } satisfies LoadEvent, () => process.exit(1));
}

process.on("uncaughtException", fail);
// a parent that is gone wants no result
process.on("disconnect", () => process.exit(1));
process.once("message", (plan) => {
  run(plan as LoadPlan).then((result) => {
    process.send?.({ kind: "done", result } satisfies LoadEvent, () => process.exit(0));
  }, fail);
});
