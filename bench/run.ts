/**
 * `npm run bench`: starts a node, puts it under load from another process, checks that nothing was
 * lost or done twice, prints what it measured and keeps it as JSON (bench/README.md).
 *
 * Exit code 1 when a run was invalid; a missed bar is printed and kept, and no error.
 */
import { buildLoad } from "./load-build.ts";
import { describeMachine } from "./measure/machine.ts";
import type { Measurement } from "./measurement.ts";
import { type BenchOptions, parseOptions, type ScenarioName, usage } from "./options.ts";
import { linesOf, machineLine, writeResults } from "./report.ts";
import { backlog } from "./scenarios/backlog.ts";
import { crowd } from "./scenarios/crowd.ts";
import { cycle, single } from "./scenarios/cycle.ts";
import { flood } from "./scenarios/flood.ts";
import { http } from "./scenarios/http.ts";
import { idle } from "./scenarios/idle.ts";
import { latency } from "./scenarios/latency.ts";
import { queues } from "./scenarios/queues.ts";
import { retention } from "./scenarios/retention.ts";
import type { Scenario } from "./scenarios/scenario.ts";
import { shards } from "./scenarios/shards.ts";
import { steady } from "./scenarios/steady.ts";

const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  cycle,
  single,
  http,
  latency,
  backlog,
  retention,
  idle,
  crowd,
  flood,
  queues,
  shards,
  steady,
};

async function bench(options: BenchOptions): Promise<void> {
  buildLoad();
  const machine = describeMachine(options.folder);
  console.log(machineLine(machine));
  const measurements: Measurement[] = [];
  for (const name of options.scenarios) {
    for await (const measurement of scenarios[name]({ options, machine })) {
      measurements.push(measurement);
      for (const line of linesOf(measurement)) console.log(line);
      if (measurement.problems.length > 0) process.exitCode = 1;
    }
  }
  console.log(`kept as ${writeResults(options.name, machine, measurements)}`);
}

async function main(): Promise<void> {
  let options: BenchOptions;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    process.exitCode = 64;
    return;
  }
  await bench(options);
}

await main();
