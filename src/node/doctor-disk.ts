/** The doctor's look at the disk: its kind, its room, and how long an fsync takes there. */
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { GiB, KiB, MiB } from "../base/limits.ts";
import { createClock } from "../platform/system.ts";
import { filesystemKind } from "../storage/filesystem-kind.ts";
import { sampleFreeSpace } from "../storage/free-space.ts";
import { createNodeFiles } from "../storage/node-files.ts";
import type { Check } from "./doctor-checks.ts";

const syncs = 100;
const syncBytes = 4 * KiB;
const streamBytes = 32 * MiB;
/** A commit waits for one fsync: from here on a client feels it. */
const slowSyncMs = 5;
/** And here heartbeats and elections do. */
const badSyncMs = 50;
const slowMiBPerSecond = 50;

/** @param path - the data directory, there or not yet */
export async function checkDisk(path: string): Promise<readonly Check[]> {
  const folder = existsSync(path) ? resolve(path) : dirname(resolve(path));
  if (!existsSync(folder)) return []; // its parent is missing: said elsewhere
  const checks = [checkKind(folder), checkRoom(folder)];
  try {
    checks.push(...measure(folder));
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    checks.push({ name: "disk", level: "fail", detail, advice: "the directory must be writable" });
  }
  return checks;
}

function checkKind(folder: string): Check {
  const name = "file system";
  const { kind, name: detail } = filesystemKind(createNodeFiles().filesystemSync(folder).type);
  switch (kind) {
    case "supported":
      return { name, level: "ok", detail };
    case "unknown":
      return { name, level: "warn", detail, advice: "known to keep its word: ext4, xfs, btrfs" };
    case "refused":
      return { name, level: "fail", detail, advice: "use ext4, xfs or btrfs on a local disk" };
  }
}

function checkRoom(folder: string): Check {
  const name = "free space";
  const { level, freeBytes, reserveBytes } = sampleFreeSpace(createNodeFiles(), folder);
  const detail = `${gib(freeBytes)} free, ${gib(reserveBytes)} are kept as reserve`;
  if (level === "ok") return { name, level: "ok", detail };
  return {
    name,
    level: "fail",
    detail,
    advice: "creates are refused below the reserve: make room",
  };
}

function gib(bytes: number): string {
  return `${(bytes / GiB).toFixed(1)} GiB`;
}

function measure(folder: string): readonly Check[] {
  const path = join(folder, `.quorumq-doctor-${randomBytes(6).toString("hex")}`);
  const file = openSync(path, "wx", 0o600);
  try {
    return [judgeSyncs(timeSyncs(file)), judgeStream(timeStream(file))];
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}

/** Ms of each append of 4 KiB with its sync, sorted. */
function timeSyncs(file: number): readonly number[] {
  const clock = createClock();
  const block = randomBytes(syncBytes);
  const times = Array.from({ length: syncs }, () => {
    const fromMs = clock.monotonicMs();
    writeSync(file, block);
    fdatasyncSync(file);
    return clock.monotonicMs() - fromMs;
  });
  return times.sort((a, b) => a - b);
}

/** @param times - sorted, in ms */
export function judgeSyncs(times: readonly number[]): Check {
  const name = "fsync";
  const median = times[Math.floor(times.length / 2)] ?? 0;
  const p99 = times[Math.floor(times.length * 0.99)] ?? 0;
  const detail = `median ${median.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
  if (median < slowSyncMs) return { name, level: "ok", detail };
  const advice =
    "every acknowledgement waits for one: use an SSD, best with power-loss protection; with one node storage.durability interval trades safety for it";
  return { name, level: median < badSyncMs ? "warn" : "fail", detail, advice };
}

/** MiB per second of large writes, synced at the end. */
function timeStream(file: number): number {
  const clock = createClock();
  const block = randomBytes(MiB);
  const fromMs = clock.monotonicMs();
  for (let written = 0; written < streamBytes; written += block.length) writeSync(file, block);
  fdatasyncSync(file);
  return streamBytes / MiB / ((clock.monotonicMs() - fromMs) / 1000);
}

/** @param mibPerSecond - of large writes */
export function judgeStream(mibPerSecond: number): Check {
  const name = "write speed";
  const detail = `${Math.round(mibPerSecond)} MiB/s`;
  if (mibPerSecond >= slowMiBPerSecond) return { name, level: "ok", detail };
  const advice = "compactions will hold up writes: use a faster disk";
  return { name, level: "warn", detail, advice };
}
