/** Draws what `bench:peers` has kept. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { resultsFolder } from "../paths.ts";
import { latestPeerResults } from "./latest.ts";
import { drawPeers } from "./peers-chart.ts";

/** The picture that the README shows. */
export const chartPath = join(resultsFolder, "peers.svg");

/** @returns a line for each panel, and where they are drawn. @throws Error without any results */
export async function drawLatest(): Promise<string[]> {
  const results = latestPeerResults(resultsFolder);
  if (results.length === 0) throw new Error(`no results of bench:peers in ${resultsFolder}`);
  writeFileSync(chartPath, await drawPeers(results));
  const panels = results.map(
    ({ nodes, date, isQuick }) => `nodes: ${nodes}, of ${date}${isQuick ? ", short runs" : ""}`,
  );
  return [...panels, `drawn as ${chartPath}`];
}
