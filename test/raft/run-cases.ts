/**
 * Runs all transcripts below a folder (the argument, else RAFT_CASES, else ../shared/raft-cases)
 * and prints the sum. One file is one case. Exit code 1 if any fails or there is none; a missing
 * folder is a skip.
 */
import { existsSync } from "node:fs";
import { relative } from "node:path";
import { findCases, runCase } from "./interpreter.ts";

const folder = process.argv[2] ?? process.env["RAFT_CASES"] ?? "../shared/raft-cases";

if (!existsSync(folder)) {
  console.log(`skipped: no folder ${folder} (an argument or RAFT_CASES names another)`);
} else {
  const results = findCases(folder).map((file) => runCase(file));
  const failed = results.filter((result) => result.failure !== "");
  for (const { file, failure } of failed) console.log(`${relative(folder, file)}: ${failure}`);
  console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
  process.exitCode = failed.length > 0 || results.length === 0 ? 1 : 0;
}
