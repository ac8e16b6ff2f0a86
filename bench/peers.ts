/**
 * `npm run bench:peers`: the canonical workload on QuorumQ and on NATS JetStream in turn, three
 * rounds, the medians and their ratios (bench/README.md says what each mode of NATS means).
 */
import type { NatsMode } from "./load/protocol.ts";
import { buildLoad } from "./load-build.ts";
import { describeMachine } from "./measure/machine.ts";
import { type Measurement, median } from "./measurement.ts";
import { type BenchOptions, parseOptions } from "./options.ts";
import { measureNats } from "./peers/nats.ts";
import { natsVersion } from "./peers/nats-server.ts";
import { linesOf, machineLine, rateText, writeResults } from "./report.ts";
import { cycle } from "./scenarios/cycle.ts";
import type { BenchContext } from "./scenarios/scenario.ts";

const rounds = 3;
const natsModes: readonly NatsMode[] = ["api", "awaited", "counted"];
/** Of the faster mode that NATS's own interface has (issue 3). */
const bar = { mode: "api" as NatsMode, ratio: 2.2 };

class Contest {
  private readonly rates = new Map<string, number[]>();
  readonly measurements: Measurement[] = [];

  add(name: string, measurement: Measurement): void {
    this.measurements.push(measurement);
    for (const line of linesOf(measurement)) console.log(line);
    const { throughput, problems } = measurement;
    if (throughput === undefined || problems.length > 0) return;
    const rates = this.rates.get(name) ?? [];
    rates.push(throughput.cyclesPerSecond);
    this.rates.set(name, rates);
  }

  /** Of the valid runs; NaN without one. */
  median(name: string): number {
    return median(this.rates.get(name) ?? [Number.NaN]);
  }
}

async function compete(options: BenchOptions): Promise<void> {
  buildLoad();
  const machine = describeMachine(options.folder);
  const context: BenchContext = { options, machine };
  const version = natsVersion();
  console.log(`${machineLine(machine)}, ${version}`);
  const contest = new Contest();
  for (let round = 0; round < rounds; round++) {
    for await (const ours of cycle(context)) contest.add("quorumq", ours);
    for (const mode of natsModes) contest.add(mode, await measureNats(options, mode));
  }
  const own = contest.median("quorumq");
  console.log(`median of ${rounds}: quorumq ${rateText(own)}`);
  const ratios = natsModes.map((mode) => ({
    mode,
    median: contest.median(mode),
    ratio: own / contest.median(mode),
  }));
  for (const { mode, median: rate, ratio } of ratios) {
    const holds = ratio >= bar.ratio ? "holds" : "MISSED";
    const verdict = mode === bar.mode ? `, at least ${bar.ratio}: ${holds}` : "";
    console.log(`nats ${mode} ${rateText(rate)}: ratio ${ratio.toFixed(2)}${verdict}`);
  }
  const summary = { scenario: "medians", version, quorumq: own, nats: ratios };
  console.log(`kept as ${writeResults(options.name, machine, [summary, ...contest.measurements])}`);
}

const args = process.argv.slice(2);
await compete(parseOptions(["--name", "peers", "--payload", "14", ...args]));
