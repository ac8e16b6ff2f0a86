/**
 * `npm run sim:planted`: plants one bug after the other in a copy of the code and lets the simulator
 * look for it, with seeds drawn at random, two bugs at a time. Prints a table of what was found after
 * how many seeds, and by which checker; exit code 1 if a bug escapes.
 *
 *   npm run sim:planted -- --only B13,B15 --first-seed 4711 --jobs 1
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { WorldName } from "../sim/play.ts";
import { planted } from "./bugs.ts";
import type { Change, Planted } from "./planted.ts";

/** A bug is found within so many seeds or so much CPU: whichever is more ends the hunt. */
const seedsMax = 500;
const cpuSecondsMax = 60;
const medianMax = 20;
/** On a machine that has other things to do. */
const secondsMax = 600;
const root = fileURLToPath(new URL("../..", import.meta.url));

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    "first-seed": { type: "string" },
    jobs: { type: "string", default: "2" },
  },
});
const first = Number(values["first-seed"] ?? Math.floor(Math.random() * 2 ** 30));

interface Finding {
  readonly bug: Planted;
  /** null: it escaped. */
  readonly seeds: number | null;
  /** Of CPU. */
  readonly seconds: number;
  readonly by: string;
}

async function hunt(bug: Planted): Promise<Finding> {
  const copy = mkdtempSync(join(tmpdir(), "quorumq-planted-"));
  try {
    for (const name of ["src", "test/sim", "test/queue", "package.json", "tsconfig.json"]) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    for (const change of [bug, ...(bug.also ?? [])]) plant(copy, bug.id, change);
    const { stdout, stderr, hasDied } = await simulate(copy, bug.world ?? "cluster");
    const found = /^found after (\d+) seeds and ([\d.]+) CPU-seconds: (.*)$/m.exec(stdout);
    if (found) {
      const by = checkerOf(found[3] ?? "");
      return { bug, seeds: Number(found[1]), seconds: Number(found[2]), by };
    }
    // A process that ends in another way than it should has been found out too.
    if (hasDied) return { bug, seeds: 1, seconds: 0, by: checkerOf(errorLine(stderr)) };
    return { bug, seeds: null, seconds: cpuSecondsMax, by: "no checker" };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function plant(copy: string, id: string, { file, find, put }: Change): void {
  const path = join(copy, file);
  const text = readFileSync(path, "utf8");
  if (text.split(find).length !== 2) throw new Error(`${id}: its place is not in ${file}`);
  writeFileSync(
    path,
    text.replace(find, () => put),
  );
}

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  /** By itself, with an error. */
  readonly hasDied: boolean;
}

function simulate(copy: string, world: WorldName): Promise<Ended> {
  const limits = ["--at-least-seconds", String(cpuSecondsMax), "--seeds", String(seedsMax)];
  const play = ["--until-failure", "--world", world, ...limits, "--first-seed", String(first)];
  const child = spawn(process.execPath, ["--import", "tsx", "test/sim/main.ts", ...play], {
    cwd: copy,
    timeout: secondsMax * 1000,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({ ...texts, hasDied: code !== 0 && signal === null });
    });
  });
}

/** Which rule was broken, and whose it is: of the simulator, or of the code itself. */
function checkerOf(by: string): string {
  const [, name = "", rule = by] = /\b(\w*(?:Error|Violation)): (.*)$/.exec(by) ?? [];
  return `${name === "Violation" ? "checker" : `its own ${name}`}: ${rule.slice(0, 130)}`;
}

function errorLine(text: string): string {
  return text.split("\n").find((line) => /Error|Violation/.test(line)) ?? "";
}

function tell({ bug, seeds, seconds, by }: Finding): void {
  const outcome = seeds === null ? "ESCAPED" : `${seeds} seeds`;
  const head = `${bug.id.padEnd(5)} ${outcome.padEnd(10)} ${seconds.toFixed(1).padStart(5)} s`;
  console.log(`${head}  ${bug.what}\n      ${by}`);
}

const chosen = values.only?.split(",");
const left = planted.filter(({ id }) => chosen?.includes(id) ?? true);
const findings: Finding[] = [];

async function huntOnAndOn(): Promise<void> {
  for (let bug = left.shift(); bug; bug = left.shift()) {
    const finding = await hunt(bug);
    findings.push(finding);
    tell(finding);
  }
}

await Promise.all(Array.from({ length: Number(values.jobs) }, huntOnAndOn));
const escaped = findings.filter(({ seeds }) => seeds === null).length;
const counts = findings.flatMap(({ seeds }) => seeds ?? []).sort((a, b) => a - b);
const median = counts[Math.floor(counts.length / 2)] ?? 0;
console.log(`first seed ${first}, median ${median} seeds, worst ${counts.at(-1) ?? 0}`);
console.log(`${findings.length - escaped} passed, ${escaped} failed`);
if (escaped > 0 || (chosen === undefined && median > medianMax)) process.exitCode = 1;
