/**
 * Runs the project's tests with node's own runner and tsx.
 *
 *   node test/run.mjs unit          everything but integration: under a minute
 *   node test/run.mjs raft-cases    data files of another Raft core's suite, if they are there;
 *                                   a folder after it goes before RAFT_CASES
 *   node test/run.mjs integration   real processes, disks and sockets; what is under integration/long
 *                                   only with QUORUMQ_ITEST=all, or if a name chooses it
 *   node test/run.mjs all           unit and integration
 *
 * Names after the kind choose files: `node test/run.mjs unit queue/apply` runs those whose path
 * holds that text. The last line is `N passed, N failed` (and `, N skipped` if any); the exit code
 * is 1 if anything failed or nothing ran.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, sep } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const kinds = ["unit", "raft-cases", "integration", "all"];
/** Two files at a time: that is how many cores the smallest machine has that must pass. */
const unitConcurrency = 2;
/** Integration tests measure time: one at a time. */
const integrationConcurrency = 1;
const isLong = process.env["QUORUMQ_ITEST"] === "all";
/** No file may hang the run. */
const fileTimeoutMs = isLong ? 3_600_000 : 300_000;

function findFiles(kind, filters) {
  const all = readdirSync(join(root, "test"), { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join("test", name))
    .sort();
  const isIntegration = (file) => file.startsWith(join("test", "integration") + sep);
  const takesLong = (file) => file.startsWith(join("test", "integration", "long") + sep);
  const wanted = all.filter((file) => kind === "all" || isIntegration(file) === (kind !== "unit"));
  if (filters.length === 0) return wanted.filter((file) => isLong || !takesLong(file));
  return wanted.filter((file) => filters.some((text) => file.includes(text)));
}

/** Counts leaves only: a suite is not a test. */
function runFiles(files, concurrency) {
  const paths = files.map((file) => join(root, file));
  const totals = { passed: 0, failed: 0, skipped: 0 };
  return new Promise((resolve) => {
    const stream = run({ files: paths, concurrency, timeout: fileTimeoutMs });
    stream.on("test:pass", (event) => {
      if (event.details?.type === "suite") return;
      // a file stands for itself when none of its tests reported: it has none, or it left early
      if (paths.includes(event.name)) {
        totals.failed += 1;
        console.log(`✖ no test of ${event.name} ran to its end`);
        return;
      }
      if (event.skip !== undefined || event.todo !== undefined) totals.skipped += 1;
      else totals.passed += 1;
    });
    stream.on("test:fail", (event) => {
      if (event.details?.error?.failureType !== "subtestsFailed") totals.failed += 1;
    });
    const report = stream.compose(spec);
    report.pipe(process.stdout);
    report.on("end", () => resolve(totals));
  });
}

function runTypeScript(args) {
  const { status } = spawnSync(process.execPath, ["--import", "tsx", ...args], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
}

async function main() {
  const [kind = "", ...filters] = process.argv.slice(2);
  if (!kinds.includes(kind)) {
    console.error(`usage: node test/run.mjs ${kinds.join("|")} [part of a path ...]`);
    process.exitCode = 64;
    return;
  }
  process.chdir(root);
  if (kind === "raft-cases")
    return runTypeScript([join("test", "raft", "run-cases.ts"), ...filters]);
  // the runner starts one process per file, each with the flags of this one
  if (!process.execArgv.includes("tsx")) return runTypeScript(process.argv.slice(1));
  const concurrency = kind === "unit" ? unitConcurrency : integrationConcurrency;
  const files = findFiles(kind, filters);
  const { passed, failed, skipped } = await runFiles(files, concurrency);
  const skips = skipped > 0 ? `, ${skipped} skipped` : "";
  console.log(`${passed} passed, ${failed} failed${skips}`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

await main();
