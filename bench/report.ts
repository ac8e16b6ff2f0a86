/** Lines for people and a file for programs. */
import { mkdirSync, writeFileSync } from "node:fs";
import { describeCommit, type Machine } from "./measure/machine.ts";
import { type Bar, holds, type Measurement, type Throughput } from "./measurement.ts";
import { resultsFolder } from "./paths.ts";

const megabyte = 1e6;
const bytesUnits = /^(rss|mapped|disk)/u;

/** What was measured, on one line, and one line per bar or problem below it. */
export function linesOf(measurement: Measurement): string[] {
  const { scenario, label, durability, throughput, figures, bars, problems } = measurement;
  const parts = [`${scenario} ${label}`, durability];
  if (throughput !== undefined) parts.push(...throughputParts(throughput));
  for (const [name, value] of Object.entries(figures)) parts.push(figureText(name, value));
  return [
    parts.join(" · "),
    ...bars.map((bar) => `    ${barText(bar)}`),
    ...(problems.length === 0 ? [] : problems.map((text) => `    INVALID: ${text}`)),
  ];
}

export function machineLine(machine: Machine): string {
  const { cpu, cores, kernel, node, fsyncMs, fsyncP99Ms } = machine;
  return (
    `${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, ` +
    `fsync ${fsyncMs.toFixed(2)} ms (p99 ${fsyncP99Ms.toFixed(2)})`
  );
}

/**
 * Writes bench/results/<date>-<name>.json.
 * @returns the path
 */
export function writeResults(
  name: string,
  machine: Machine,
  measurements: readonly object[],
): string {
  mkdirSync(resultsFolder, { recursive: true });
  const date = new Date().toISOString();
  const path = `${resultsFolder}${date.slice(0, 19).replaceAll(":", "")}-${name}.json`;
  const file = { name, date, commit: describeCommit(), machine, measurements };
  writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`);
  return path;
}

export function rateText(cyclesPerSecond: number): string {
  return `${Math.round(cyclesPerSecond).toLocaleString("en")} cycles/s`;
}

function throughputParts(throughput: Throughput): string[] {
  const { cyclesPerSecond, slowest5sShare, createAck, endToEnd } = throughput;
  const latency = ({ p50Ms, p99Ms, p999Ms }: typeof createAck) =>
    `${[p50Ms, p99Ms, p999Ms].map((ms) => ms.toFixed(1)).join(" / ")} ms`;
  return [
    `${rateText(cyclesPerSecond)} (slowest 5 s ${(slowest5sShare * 100).toFixed(0)} %)`,
    `create ack ${latency(createAck)}`,
    `end to end ${latency(endToEnd)}`,
    `CPU/task ${throughput.serverCpuUs.toFixed(1)} + ${throughput.loadCpuUs.toFixed(1)} µs`,
    `RSS ${megabytes(throughput.rssMax)} (${megabytes(throughput.mappedMax)} mapped beside it)`,
  ];
}

function figureText(name: string, value: number): string {
  if (bytesUnits.test(name)) return `${name} ${megabytes(value)}`;
  return `${name} ${value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(2)}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / megabyte).toFixed(0)} MB`;
}

function barText(bar: Bar): string {
  const digits = bar.limit >= 1000 ? 0 : 1;
  const verdict = holds(bar) ? "holds " : "MISSED";
  const wanted = `${bar.direction} ${bar.limit.toFixed(digits)}`;
  return `${verdict} ${bar.what}: ${bar.value.toFixed(digits)} ${bar.unit}, ${wanted}`;
}
