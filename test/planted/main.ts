/**
 * `npm run sim:planted`: plants one bug after the other in a copy of the code and lets the simulator of a
 * cluster look for it, with seeds drawn at random. Prints a table; exit code 1 if a bug escapes.
 *
 *   npm run sim:planted -- --only B13,B15 --first-seed 4711
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Planted, planted } from "./bugs.ts";

const seedsMax = 500;
const cpuSecondsMax = 60;
const medianMax = 20;
/** On a machine that has other things to do. */
const secondsMax = 600;
const root = fileURLToPath(new URL("../..", import.meta.url));

const { values } = parseArgs({
  options: { only: { type: "string" }, "first-seed": { type: "string" } },
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

function hunt(bug: Planted): Finding {
  const copy = mkdtempSync(join(tmpdir(), "quorumq-planted-"));
  try {
    for (const name of ["src", "test/sim", "test/queue", "package.json", "tsconfig.json"]) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    plant(join(copy, bug.file), bug);
    const run = spawnSync(
      process.execPath,
      [
        "--import",
        "tsx",
        "test/sim/main.ts",
        "--until-failure",
        ...["--world", "cluster", "--cpu-seconds", String(cpuSecondsMax)],
        ...["--seeds", String(seedsMax), "--first-seed", String(first)],
      ],
      { cwd: copy, encoding: "utf8", timeout: secondsMax * 1000, maxBuffer: 2 ** 26 },
    );
    const found = /^found after (\d+) seeds and ([\d.]+) CPU-seconds: (.*)$/m.exec(run.stdout);
    // A process that ends in another way than it should has been found out too.
    const died = run.status !== 0 && run.signal === null && !found;
    const seconds = Number(found?.[2] ?? 0);
    const by = found?.[3] ?? (died ? lastLine(run.stderr) : "");
    return { bug, seeds: found ? Number(found[1]) : died ? 1 : null, seconds, by };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function plant(path: string, { id, find, put }: Planted): void {
  const text = readFileSync(path, "utf8");
  if (text.split(find).length !== 2) throw new Error(`${id}: its place is not in ${path}`);
  writeFileSync(
    path,
    text.replace(find, () => put),
  );
}

function lastLine(text: string): string {
  return text.split("\n").find((line) => /Error|Violation/.test(line)) ?? "";
}

const findings: Finding[] = [];
const chosen = values.only?.split(",");
for (const bug of planted.filter(({ id }) => chosen?.includes(id) ?? true)) {
  const finding = hunt(bug);
  findings.push(finding);
  const { seeds, seconds, by } = finding;
  const outcome = seeds === null ? "ESCAPED" : `${seeds} seeds`;
  console.log(
    `${bug.id.padEnd(5)} ${outcome.padEnd(10)} ${seconds.toFixed(1).padStart(5)} s  ${bug.what}`,
  );
  console.log(`      ${by.slice(0, 150)}`);
}
const escaped = findings.filter(({ seeds }) => seeds === null).length;
const counts = findings.flatMap(({ seeds }) => seeds ?? []).sort((a, b) => a - b);
const median = counts[Math.floor(counts.length / 2)] ?? 0;
console.log(`first seed ${first}, median ${median} seeds, worst ${counts.at(-1) ?? 0}`);
console.log(`${findings.length - escaped} passed, ${escaped} failed`);
if (escaped > 0 || (chosen === undefined && median > medianMax)) process.exitCode = 1;
