/**
 * The simulator from the command line:
 *
 *   npm run sim -- --seed 0x1f --log        one seed, every transition printed
 *   npm run sim -- --seeds 5000 --first-seed 7000
 *
 * Without arguments: seeds 1 to 200, the same for everybody, and 200 more that the commit names:
 * fresh ground with each change, and a failure that repeats on the same commit.
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import { runSeed, runSeeds, type SeedRange } from "./seeds.ts";

const fixedFirst = 1;
const rangeCount = 200;

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
} else if (values["first-seed"] !== undefined || values.seeds !== undefined) {
  await playRange({
    first: Number(values["first-seed"] ?? fixedFirst),
    count: Number(values.seeds ?? rangeCount),
  });
} else {
  await playRange({ first: fixedFirst, count: rangeCount });
  const first = seedOfCommit();
  if (first !== null) await playRange({ first, count: rangeCount });
}

async function playRange(range: SeedRange): Promise<void> {
  const { failures, ...sums } = await runSeeds(range);
  for (const { text } of failures) console.log(text);
  console.log({ ...range, failures: failures.length, ...sums });
  if (failures.length > 0) process.exitCode = 1;
}

/** Null outside a clone. */
function seedOfCommit(): number | null {
  try {
    const hash = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8", stdio: "pipe" });
    return Number.parseInt(hash.slice(0, 8), 16) & 0x7fff_ffff;
  } catch {
    return null;
  }
}
