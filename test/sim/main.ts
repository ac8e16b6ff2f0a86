/**
 * The simulator from the command line:
 *
 *   npm run sim -- --seed 0x1f --log        one seed, every transition printed
 *   npm run sim -- --seeds 5000 --first-seed 7000
 *
 * Without arguments: 200 seeds from one that the clock gives.
 */
import { parseArgs } from "node:util";
import { runSeed, runSeeds } from "./seeds.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    "first-seed": { type: "string" },
    log: { type: "boolean", default: false },
  },
});

if (values.seed !== undefined) {
  const outcome = await runSeed(Number(values.seed), values.log ? console.log : null);
  console.log(outcome.kind === "passed" ? outcome.report : outcome.text);
  if (outcome.kind === "failed") process.exitCode = 1;
} else {
  const first = Number(values["first-seed"] ?? Date.now() % 0x8000_0000);
  const count = Number(values.seeds ?? 200);
  const total = await runSeeds({ first, count });
  for (const { text } of total.failures) console.log(text);
  const { failures, ...sums } = total;
  console.log({ first, count, failures: failures.length, ...sums });
  if (failures.length > 0) process.exitCode = 1;
}
