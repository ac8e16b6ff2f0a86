/**
 * Looks at the machine before anything is written: what would make the node fail later, or lose
 * what it acknowledged (FAULTS 5.4). The file system's kind and free space are storage/'s business.
 */
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** The machine as far as it matters. */
export interface MachineFacts {
  /** Threads of libuv's pool. */
  readonly poolThreads: number;
  /** Files this process may have open; Infinity where unknown. */
  readonly openFilesMax: number;
  readonly wallMs: number;
  readonly dataDirectory: "usable" | "parent missing" | "not a directory" | "not writable";
}

export interface Preflight {
  /** Reasons not to start. */
  readonly refused: readonly string[];
  readonly warned: readonly string[];
}

const poolThreadsMin = 8;
/** Tables of the stores, and a connection each for clients. */
const openFilesMin = 4096;
/** 2020: a clock before it was never set, and ids and retention would follow it. */
const wallMsMin = 1_577_836_800_000;

/** @param path - the data directory, for the message */
export function checkMachine(facts: MachineFacts, path: string): Preflight {
  const refused: string[] = [];
  const warned: string[] = [];
  if (facts.dataDirectory !== "usable") {
    refused.push(`storage.path: ${path}: ${facts.dataDirectory}`);
  }
  if (facts.openFilesMax < openFilesMin) {
    refused.push(`open files: the limit is ${facts.openFilesMax}, raise it to ${openFilesMin}`);
  }
  if (facts.wallMs < wallMsMin) refused.push("clock: it stands before the year 2020; set it");
  if (facts.poolThreads < poolThreadsMin) {
    warned.push(
      `UV_THREADPOOL_SIZE is ${facts.poolThreads}: under ${poolThreadsMin}, reads wait for syncs`,
    );
  }
  return { refused, warned };
}

/** Reads the facts of this machine; writes nothing. */
export function readMachine(path: string, wallMs: number): MachineFacts {
  return {
    poolThreads: Number(process.env["UV_THREADPOOL_SIZE"] ?? 4),
    openFilesMax: readOpenFilesMax(),
    wallMs,
    dataDirectory: readDirectory(resolve(path)),
  };
}

function readOpenFilesMax(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"));
    return line?.[1] === undefined ? Number.POSITIVE_INFINITY : Number(line[1]);
  } catch {
    return Number.POSITIVE_INFINITY; // not Linux: nothing to go by
  }
}

function readDirectory(path: string): MachineFacts["dataDirectory"] {
  const isThere = kindOf(path);
  if (isThere === "file") return "not a directory";
  const nearest = isThere === "directory" ? path : dirname(path);
  if (kindOf(nearest) !== "directory") return "parent missing";
  try {
    accessSync(nearest, constants.W_OK | constants.X_OK);
    return "usable";
  } catch {
    return "not writable"; // whatever the reason, it is not for us
  }
}

function kindOf(path: string): "directory" | "file" | "nothing" {
  try {
    return statSync(path).isDirectory() ? "directory" : "file";
  } catch {
    return "nothing"; // not there, below a file, or hidden from us: no place for data
  }
}
