/** Finds the results that a chart shows among the files of bench/results. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "../measure/machine.ts";
import type { Summary } from "../peers/contest.ts";
import type { PeerResults } from "./peers-chart.ts";

/**
 * Of each size of cluster, from the smallest on, the newest results of `bench:peers` in a folder; those
 * of full runs before short ones, whatever their age.
 */
export function latestPeerResults(folder: string): PeerResults[] {
  const latest = new Map<number, PeerResults>();
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  for (const name of files) {
    const found = peerResultsOf(readFileSync(join(folder, name), "utf8"));
    if (found === null) continue;
    const known = latest.get(found.nodes);
    if (known === undefined || isBetter(found, known)) latest.set(found.nodes, found);
  }
  return [...latest.values()].sort((a, b) => a.nodes - b.nodes);
}

function isBetter(found: PeerResults, known: PeerResults): boolean {
  if (found.isQuick !== known.isQuick) return known.isQuick;
  return found.date > known.date;
}

interface ResultsFile {
  readonly date: string;
  readonly machine: Machine;
  readonly measurements: readonly (Partial<Summary> & { readonly scenario: string })[];
}

/** @returns null for a file of something else */
function peerResultsOf(text: string): PeerResults | null {
  const { date, machine, measurements } = JSON.parse(text) as ResultsFile;
  const summary = measurements.find(({ scenario }) => scenario === "medians");
  if (summary?.standings === undefined) return null;
  return { ...(summary as Summary), date, machine };
}
