/** What a run of many seeds was worth, in one line, and the bars that CI's run must reach. */
import type { Figures } from "./play.ts";
import type { Totals } from "./seeds.ts";

type Bars = Partial<Record<keyof Figures, number>>;

export const ciBars: Bars = {
  acknowledged: 300_000,
  crashes: 5_000,
  partitions: 5_000,
  snapshots: 1_000,
  memberChanges: 1_000,
};

const names: Readonly<Record<keyof Figures, string>> = {
  simulatedMs: "simulated ms",
  events: "events",
  acknowledged: "acknowledged operations",
  faults: "faults",
  crashes: "crashes",
  partitions: "partitions",
  snapshots: "snapshot installs",
  memberChanges: "membership changes",
  leaders: "leaders",
};

export function summaryOf({ passed, failures, figures }: Totals, cpuSeconds: number): string {
  const { simulatedMs, ...counts } = figures;
  const hours = (simulatedMs / 3_600_000).toFixed(1);
  const rest = Object.entries(counts).map(
    ([name, count]) => `${count.toLocaleString("en")} ${names[name as keyof Figures]}`,
  );
  const seeds = passed + failures.length;
  const cpu = `${Math.round(cpuSeconds)} CPU-seconds`;
  return `${hours} simulated hours in ${cpu}, ${seeds} seeds: ${rest.join(", ")}; ${failures.length} failed`;
}

/** A line for each bar that was missed. */
export function missedBars({ figures }: Totals, bars: Bars): string[] {
  return Object.entries(bars).flatMap(([name, bar]) => {
    const count = figures[name as keyof Figures];
    return count < bar ? [`too few ${names[name as keyof Figures]}: ${count} of ${bar}`] : [];
  });
}
