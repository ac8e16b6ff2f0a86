/**
 * `npm run test:exhaustive`: all schedules of three replicas, as far as the budget of states goes
 * (`-- --states 5000000`), and the mistakes that must be found (`--planted` for these alone). A line
 * per search; exit code 1 if a promise is broken or a mistake is not found.
 */
import { parseArgs } from "node:util";
import { searchPlanted, whatIs } from "./plant.ts";
import { largeScenarios, plantedSearches, smallScenarios } from "./scenarios.ts";
import { type Outcome, search } from "./search.ts";

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "1000000" },
    only: { type: "string" },
    planted: { type: "boolean", default: false },
  },
});
const maxStates = Number(values.states);
const isWanted = (name: string): boolean => values.only === undefined || name === values.only;

function report(name: string, outcome: Outcome, seconds: number): void {
  const { states, transitions, localStates, depth, isComplete } = outcome;
  const extent = isComplete ? "all of it" : `to depth ${depth}`;
  console.log(
    `${name.padEnd(38)} ${states} states, ${transitions} steps, ${localStates} of one replica, ` +
      `${extent}, ${seconds.toFixed(1)} s`,
  );
}

let passed = 0;
let failed = 0;

for (const scenario of [...smallScenarios(maxStates), ...largeScenarios(maxStates)]) {
  if (values.planted || !isWanted(scenario.name)) continue;
  const started = process.cpuUsage();
  const outcome = search(scenario);
  report(scenario.name, outcome, process.cpuUsage(started).user / 1e6);
  if (outcome.broken === "") {
    passed++;
    continue;
  }
  failed++;
  console.log([`  BROKEN: ${outcome.broken}`, ...outcome.trace].join("\n    "));
}

for (const planted of plantedSearches(maxStates)) {
  if (!isWanted(planted.id)) continue;
  const started = process.cpuUsage();
  const outcome = await searchPlanted(planted);
  const name = `${planted.id} ${whatIs(planted.id)}`;
  report(name, outcome, process.cpuUsage(started).user / 1e6);
  if (outcome.broken === "") {
    failed++;
    console.log("  ESCAPED");
    continue;
  }
  passed++;
  console.log([`  found: ${outcome.broken}`, ...outcome.trace].join("\n    "));
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
