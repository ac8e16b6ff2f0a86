/**
 * The simulator from the command line:
 *
 *   npm run sim                                      what CI runs, with its bars
 *   npm run sim -- --seed 0x1f                       one seed in each world, every transition printed
 *   npm run sim -- --seeds 5000 --first-seed 7000    many, on all cores
 *   ... --world node | cluster | long                 one of the worlds only
 *   ... --until-failure --at-least-seconds 60        one after the other, until one fails; or all passed, and
 *                                                    more until so much CPU is spent
 *   ... --seed 0x1f --world node --keep "what it found"    keeps a seed that fails: it is run for ever
 *
 * Without arguments half of the seeds are the same for everybody, and the commit names the others:
 * fresh ground with each change, and a failure that repeats on the same commit.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { argumentsOf, type Job, play, type WorldName, worlds } from "./play.ts";
import type { Regression } from "./regressions.ts";
import { playAll, range, type Totals } from "./seeds.ts";
import { ciBars, missedBars, summaryOf } from "./summary.ts";

/** Seeds of CI, half fixed and half fresh. */
const counts: Readonly<Record<WorldName, number>> = { node: 300, cluster: 560, long: 8 };

/** Printed while it runs: what failed, and every so many seeds that it goes on. */
const progressEvery = 100;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    "first-seed": { type: "string" },
    world: { type: "string" },
    keep: { type: "string" },
    "until-failure": { type: "boolean", default: false },
    "at-least-seconds": { type: "string", default: "0" },
  },
});

const chosen = worlds.filter((world) => values.world === undefined || world === values.world);
if (chosen.length === 0) throw new Error(`--world: ${worlds.join(" or ")}`);

if (values.seed !== undefined) {
  for (const world of chosen) await playOne({ world, seed: numberOf(values.seed) });
} else if (values.seeds !== undefined || values["first-seed"] !== undefined) {
  const first = numberOf(values["first-seed"] ?? "1");
  const count = numberOf(values.seeds ?? "100");
  if (values["until-failure"]) await playUntilFailure(first, count);
  else report(await playMany(chosen.flatMap((world) => range(world, first, count))));
} else {
  const fresh = seedOfCommit();
  const totals = await playMany(
    chosen.flatMap((world) => {
      const half = counts[world] / 2;
      return [...range(world, 1, half), ...range(world, fresh, half)];
    }),
  );
  report(totals);
  if (chosen.length === worlds.length) checkBars(totals);
}

async function playOne(job: Job): Promise<void> {
  const outcome = await play(job, console.log);
  if (outcome.kind === "passed") {
    console.log({ ...job, hash: outcome.hash, ...outcome.figures });
    return;
  }
  console.log(outcome.text);
  process.exitCode = 1;
  if (values.keep !== undefined) keep(job, values.keep);
  else console.log(`  keep: npm run sim -- ${argumentsOf(job)} --keep "what it found"`);
}

async function playUntilFailure(first: number, count: number): Promise<void> {
  const least = Number(values["at-least-seconds"]);
  for (let i = 0; i < count || cpuSeconds() < least; i++) {
    for (const world of chosen) {
      const outcome = await play({ world, seed: (first + i) >>> 0 }, null);
      if (outcome.kind === "passed") continue;
      const spent = `${i + 1} seeds and ${cpuSeconds().toFixed(1)} CPU-seconds`;
      console.log(`found after ${spent}: ${outcome.text.split("\n")[0]}`);
      process.exit(1);
    }
  }
}

function keep({ world, seed }: Job, found: string): void {
  const path = new URL(`regressions/${world}.json`, import.meta.url);
  const kept = JSON.parse(readFileSync(path, "utf8")) as Regression[];
  writeFileSync(path, `${JSON.stringify([...kept, { seed, found }], null, 2)}\n`);
}

function playMany(jobs: readonly Job[]): Promise<Totals> {
  let count = 0;
  return playAll(jobs, (outcome) => {
    if (outcome.kind === "failed") console.log(outcome.text);
    if (++count % progressEvery === 0) console.log(`${count} of ${jobs.length} seeds`);
  });
}

function report(totals: Totals): void {
  console.log(summaryOf(totals, cpuSeconds()));
  if (totals.failures.length > 0) process.exitCode = 1;
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function checkBars(totals: Totals): void {
  for (const line of missedBars(totals, ciBars)) {
    console.log(line);
    process.exitCode = 1;
  }
}

/** Decimal, or hexadecimal behind 0x. */
function numberOf(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) throw new Error(`not a number: ${text}`);
  return number;
}

/** Outside of a clone one that is as good as any other. */
function seedOfCommit(): number {
  try {
    const hash = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8", stdio: "pipe" });
    return Number.parseInt(hash.slice(0, 8), 16);
  } catch {
    return 0x5eed;
  }
}
