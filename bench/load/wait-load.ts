/** Connected workers that wait for work that never comes: what they cost the node. */
import { sleep } from "../measure/sleep.ts";
import type { ClientBuild } from "./client-build.ts";
import { Meter } from "./meter.ts";
import type { LoadEvent, LoadResult, WaitPlan } from "./protocol.ts";

/** Connections opened at a time. */
const openingMax = 50;
/** After the last one is connected, until the node is quiet again. */
const settleMs = 3000;

/** Opens the streams, waits for the time of the plan, closes them. */
export async function runWait(
  build: ClientBuild,
  plan: WaitPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say);
  const streams: ReturnType<ClientBuild["createWorkerStream"]>[] = [];
  for (let i = 0; i < plan.workers; i += openingMax) {
    const opening = Array.from({ length: Math.min(openingMax, plan.workers - i) }, () =>
      openWaiting(build, plan),
    );
    streams.push(...(await Promise.all(opening)));
  }
  await sleep(settleMs);
  say({ kind: "measuring" });
  await sleep(plan.measureMs);
  say({ kind: "measured" });
  await Promise.all(streams.map((stream) => stream.close()));
  return meter.result();
}

/** Resolves when the stream's Ready is sent. */
function openWaiting(build: ClientBuild, plan: WaitPlan) {
  const { grpc: endpoints, token } = plan.target;
  return new Promise<ReturnType<ClientBuild["createWorkerStream"]>>((resolve) => {
    const stream = build.createWorkerStream(
      { endpoints, token, wire: build.wire, queues: [plan.queue] },
      {
        opened: () => {
          stream.ready(1);
          resolve(stream);
        },
        tasks: () => {
          throw new Error("there was no work to give");
        },
        resultAcks: () => undefined,
        ack: () => undefined,
        canceled: () => undefined,
        lost: (error) => {
          throw error;
        },
        refused: (error) => {
          throw error;
        },
      },
    );
    stream.connect();
  });
}
