/**
 * The cluster's simulator from the command line:
 *
 *   npm run sim:cluster -- --seed 31 --log                 one seed, every fault printed
 *   npm run sim:cluster -- --seeds 2000 --first-seed 7000
 *
 * Without arguments: seeds 1 to 100, and 100 more that the commit names.
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import { simulateCluster } from "./cluster-sim.ts";
import { runClusterSeeds } from "./seeds.ts";

const fixed = { first: 1, count: 100 };

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    "first-seed": { type: "string" },
    log: { type: "boolean", default: false },
    "until-failure": { type: "string" },
  },
});

if (values["until-failure"] !== undefined) {
  await playUntilFailure(Number(values["first-seed"]), Number(values["until-failure"]));
} else if (values.seed !== undefined) {
  console.log(await simulateCluster(Number(values.seed), values.log ? console.log : null));
} else if (values.seeds !== undefined || values["first-seed"] !== undefined) {
  await play(Number(values["first-seed"] ?? fixed.first), Number(values.seeds ?? fixed.count));
} else {
  await play(fixed.first, fixed.count);
  const first = seedOfCommit();
  if (first !== null) await play(first, fixed.count);
}

/** For planted bugs: one seed after the other. */
async function playUntilFailure(first: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    try {
      await simulateCluster(first + i);
    } catch (error) {
      console.log(`found after ${i + 1} seeds: ${String(error).split("\n")[0]}`);
      process.exit(1);
    }
  }
}

async function play(first: number, count: number): Promise<void> {
  const { failures, sums } = await runClusterSeeds(first, count);
  for (const text of failures) console.log(text);
  console.log({ first, count, failures: failures.length, ...sums });
  if (failures.length > 0) process.exitCode = 1;
}

/** Null outside a clone. */
function seedOfCommit(): number | null {
  try {
    const hash = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8", stdio: "pipe" });
    return Number.parseInt(hash.slice(0, 7), 16);
  } catch {
    return null;
  }
}
