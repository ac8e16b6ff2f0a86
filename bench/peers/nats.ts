/** One run of the canonical work on NATS JetStream. */
import type { NatsMode, NatsPlan } from "../load/protocol.ts";
import { runLoad } from "../load-process.ts";
import { type Measurement, throughputOf } from "../measurement.ts";
import type { BenchOptions } from "../options.ts";
import { periodOf } from "../plans.ts";
import { ledgerProblems } from "../verify.ts";
import { NatsServer } from "./nats-server.ts";

/**
 * Cycles/s that NATS 2.9 reached on a 2-core machine like those the bars are meant for, low end of
 * several runs; a run below `validShare` of it says more about the moment than about NATS.
 * `counted` was never measured there.
 */
const expected: Readonly<Record<NatsMode, number | null>> = {
  api: 22_700,
  awaited: 14_900,
  counted: null,
};
const validShare = 0.85;

const labels: Readonly<Record<NatsMode, string>> = {
  api: "js.publish, acks only sent",
  awaited: "js.publish, every ack awaited",
  counted: "publish acks counted by hand, acks only sent",
};

export async function measureNats(options: BenchOptions, mode: NatsMode): Promise<Measurement> {
  const server = await NatsServer.start(options.folder);
  try {
    const plan: NatsPlan = {
      kind: "nats",
      server: server.address,
      payloadBytes: 14,
      batch: 128,
      window: 8,
      pullMessages: 1024,
      aheadMax: 20_000,
      mode,
      ...periodOf(options.isQuick),
    };
    const outcome = await runLoad(plan, { serverPid: server.pid, execArgv: [] });
    const throughput = throughputOf(outcome);
    const problems = ledgerProblems(outcome);
    const figure = expected[mode];
    if (figure !== null && throughput.cyclesPerSecond < figure * validShare) {
      problems.push(`under ${validShare * 100} % of ${figure} cycles/s: not a fair moment`);
    }
    return {
      scenario: "nats",
      label: `14 B × 128, ${labels[mode]}`,
      durability: "no fsync (every 2 min)",
      throughput,
      figures: {},
      bars: [],
      problems,
      configuration: { ...plan },
    };
  } finally {
    await server.stop();
  }
}
