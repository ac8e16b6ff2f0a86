/**
 * Free space on the data directory's filesystem, and what a node may still do with it. A full
 * disk is worse than a refused create: after one failed write LevelDB acknowledges writes that it
 * loses (FAULTS F2), so work is given up in steps before that (S11).
 */
import { limits } from "../base/limits.ts";
import type { Files } from "./files.ts";

export type SpaceLevel =
  | "ok"
  | "no_creates" // below the reserve: creates are refused with insufficient_storage
  | "drain_only" // below half of it: only what makes the store smaller
  | "stop"; // nothing is written any more

export interface FreeSpace {
  readonly level: SpaceLevel;
  readonly freeBytes: number;
  readonly reserveBytes: number;
}

/** The bytes that are kept free of a filesystem of that size. */
export function reserveBytes(totalBytes: number): number {
  return Math.max(Math.floor(totalBytes * limits.freeReserveShare), limits.freeReserveBytes);
}

/** What may be done with this much room. */
export function spaceLevel(freeBytes: number, reserve: number): SpaceLevel {
  if (freeBytes < limits.freeStopBytes) return "stop";
  if (freeBytes < reserve / 2) return "drain_only";
  return freeBytes < reserve ? "no_creates" : "ok";
}

/**
 * Takes one sample; the node calls it once a second (a statfs of some microseconds).
 * @throws StorageError io, missing
 */
export function sampleFreeSpace(files: Files, path: string): FreeSpace {
  const { totalBytes, freeBytes } = files.filesystemSync(path);
  const reserve = reserveBytes(totalBytes);
  return { level: spaceLevel(freeBytes, reserve), freeBytes, reserveBytes: reserve };
}
