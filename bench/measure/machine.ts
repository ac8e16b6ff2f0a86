/** On what the numbers were measured. */
import { execFileSync } from "node:child_process";
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFolder } from "../paths.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  /** Median and 99th percentile of `fsyncCount` appends of 4 KiB, each with fdatasync; ms. */
  readonly fsyncMs: number;
  readonly fsyncP99Ms: number;
}

const fsyncCount = 200;
const fsyncBytes = 4096;

/** @param folder - where nodes will have their data: its disk is what counts */
export function describeMachine(folder: string): Machine {
  const [cpu, ...others] = cpus();
  const times = measureFsync(folder);
  return {
    cpu: cpu?.model.trim() ?? "unknown",
    cores: others.length + 1,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    fsyncMs: times[Math.floor(times.length / 2)] as number,
    fsyncP99Ms: times[Math.floor(times.length * 0.99)] as number,
  };
}

/** Ms of each write with its sync, sorted. */
function measureFsync(folder: string): number[] {
  const own = mkdtempSync(join(folder, "quorumq-fsync-"));
  const file = openSync(join(own, "file"), "a");
  const block = Buffer.alloc(fsyncBytes, 1);
  const times: number[] = [];
  try {
    for (let i = 0; i < fsyncCount; i++) {
      const from = performance.now();
      writeSync(file, block);
      fdatasyncSync(file);
      times.push(performance.now() - from);
    }
  } finally {
    closeSync(file);
    rmSync(own, { recursive: true });
  }
  return times.sort((a, b) => a - b);
}

/** The commit measured, with `+` if files differ from it; "unknown" outside a work tree. */
export function describeCommit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, {
      cwd: fileURLToPath(packageFolder),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    const isChanged = git("status", "--porcelain", "--", "src", "bench", "proto") !== "";
    return `${git("rev-parse", "--short=12", "HEAD")}${isChanged ? "+" : ""}`;
  } catch {
    return "unknown";
  }
}
