/** Where things lie. */
import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

export const packageFolder = new URL("../", import.meta.url);

/** Where results are kept, and what is drawn of them. */
export const resultsFolder = fileURLToPath(new URL("bench/results/", packageFolder));

/** The build that is measured; QUORUMQ_BENCH_DIST names another one, to compare two. */
export const distFolder =
  process.env["QUORUMQ_BENCH_DIST"] === undefined
    ? new URL("dist/", packageFolder)
    : pathToFileURL(`${process.env["QUORUMQ_BENCH_DIST"]}/`);

/** Flags of Node with which `npm start` starts a node. */
export function flagsOfStart(): readonly string[] {
  const text = readFileSync(new URL("package.json", packageFolder), "utf8");
  const { start } = (JSON.parse(text) as { scripts: { start: string } }).scripts;
  return start.split(" ").filter((word) => word.startsWith("--"));
}
