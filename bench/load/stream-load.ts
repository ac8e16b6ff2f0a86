/** Full cycles over gRPC, as fast as the node takes them; and filling a queue. */
import { sleep } from "../measure/sleep.ts";
import type { ClientBuild } from "./client-build.ts";
import { Meter } from "./meter.ts";
import { Producers } from "./producers.ts";
import type { FillPlan, LoadEvent, LoadResult, StreamPlan } from "./protocol.ts";
import { Workers } from "./workers.ts";

/** How often a fill looks whether it is over. */
const fillLookMs = 50;

/**
 * A closed loop: producers send while fewer than `aheadMax` tasks are unfinished, workers complete
 * what they are given. At the end the producers stop and the workers finish.
 */
export async function runStreams(
  build: ClientBuild,
  plan: StreamPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say, plan.existing);
  const { ledger } = meter;
  let isCreating = true;
  const ahead = plan.aheadMax + plan.existing - plan.batch;
  const mayCreate = () => isCreating && ledger.pending <= ahead;
  const producers = new Producers(build, plan, meter, mayCreate);
  const workers = new Workers(build, plan, meter, { acked: () => producers.pump() });
  producers.pump();
  await meter.measure(plan);
  isCreating = false;
  await meter.drain(
    () => producers.inFlight === 0 && (!plan.drain || ledger.completed >= ledger.created),
  );
  await Promise.all([producers.close(), workers.close()]);
  return meter.result();
}

/** Creates tasks and leaves them ready. */
export async function runFill(
  build: ClientBuild,
  plan: FillPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say);
  const { ledger } = meter;
  // whole frames only: the last one may not be full
  const batch = 125;
  const shape = { ...plan, batch, producers: 4, window: 8 };
  const mayCreate = () => ledger.sent + batch <= plan.tasks;
  const producers = new Producers(build, shape, meter, mayCreate);
  say({ kind: "measuring" });
  producers.pump();
  while (producers.inFlight > 0) await sleep(fillLookMs);
  say({ kind: "measured" });
  await producers.close();
  return meter.result();
}
