/** Where things lie. */
import { fileURLToPath, pathToFileURL } from "node:url";

export const packageFolder = new URL("../", import.meta.url);

/** Where results are kept, and what is drawn of them. */
export const resultsFolder = fileURLToPath(new URL("bench/results/", packageFolder));

/** The build that is measured; QUORUMQ_BENCH_DIST names another one, to compare two. */
export const distFolder =
  process.env["QUORUMQ_BENCH_DIST"] === undefined
    ? new URL("dist/", packageFolder)
    : pathToFileURL(`${process.env["QUORUMQ_BENCH_DIST"]}/`);
