/**
 * `npm run bench:peers`: the canonical workload on QuorumQ and on its peers in turn, three rounds, the
 * medians and their ratios (bench/README.md says what each way means). With `--nodes 3` all of them
 * are clusters. A peer that is not installed is left out, and a line says so.
 *
 * Exit code 1 when somebody has no valid run; a missed bar is printed and kept, and no error.
 */
import { drawLatest } from "./chart/draw-latest.ts";
import { buildLoad } from "./load-build.ts";
import { describeMachine } from "./measure/machine.ts";
import type { Measurement } from "./measurement.ts";
import { type BenchOptions, parseOptions } from "./options.ts";
import { bullmq } from "./peers/bullmq.ts";
import { Contest, type Summary, standingText } from "./peers/contest.ts";
import { nats } from "./peers/nats.ts";
import { type Peer, PeerMissingError, type Rival } from "./peers/peer.ts";
import { rabbitmq } from "./peers/rabbitmq.ts";
import { periodOf } from "./plans.ts";
import { linesOf, machineLine, writeResults } from "./report.ts";
import { cycle } from "./scenarios/cycle.ts";
import { type BenchContext, durabilityText } from "./scenarios/scenario.ts";

const rounds = 3;
const peers: readonly Peer[] = [nats, rabbitmq, bullmq];
const own = "quorumq";

async function compete(options: BenchOptions): Promise<void> {
  buildLoad();
  const machine = describeMachine(options.folder);
  console.log(machineLine(machine));
  const context: BenchContext = { options, machine };
  const { versions, rivals } = gather(options);
  const contest = new Contest();
  const add = (name: string, measurement: Measurement) => {
    contest.add(name, measurement);
    for (const line of linesOf(measurement)) console.log(line);
  };
  for (let round = 0; round < rounds; round++) {
    for await (const ours of cycle(context)) add(own, ours);
    for (const { name, measure } of rivals) add(name, await measure());
  }
  const durability = durabilityText(context);
  const ours = contest.standing({ name: own, title: "QuorumQ", durability });
  const standings = [ours, ...rivals.map((rival) => contest.standing(rival, own))];
  console.log(`medians of ${rounds} rounds:`);
  for (const standing of standings) console.log(standingText(standing));
  if (standings.some(({ median }) => median === null)) process.exitCode = 1;
  const { nodes, isQuick } = options;
  const summary: Summary = { scenario: "medians", nodes, isQuick, versions, standings };
  console.log(`kept as ${writeResults(options.name, machine, [summary, ...contest.measurements])}`);
  for (const line of await drawLatest()) console.log(line);
}

/** Those that are installed and have a form with as many nodes. */
function gather({ folder, nodes, isQuick }: BenchOptions) {
  const rivals: Rival[] = [];
  const versions: string[] = [];
  for (const peer of peers) {
    const ways = peer.rivals({ folder, nodes, period: periodOf(isQuick) });
    if (ways.length === 0) continue;
    try {
      versions.push(peer.version());
      rivals.push(...ways);
    } catch (error) {
      if (!(error instanceof PeerMissingError)) throw error;
      console.log(`SKIPPED ${peer.name}: ${error.message} (apt-get install ${peer.debian})`);
    }
  }
  if (rivals.length === 0) throw new Error("no peer is installed");
  for (const version of versions) console.log(`beside ${version}`);
  return { versions, rivals };
}

/** Results of a cluster have a name of their own. */
function namedByNodes(options: BenchOptions): BenchOptions {
  const { nodes, name } = options;
  return nodes === 1
    ? options
    : { ...options, name: name.replace(/^peers/u, `peers-${nodes}-nodes`) };
}

const args = process.argv.slice(2);
await compete(namedByNodes(parseOptions(["--name", "peers", "--payload", "14", ...args])));
