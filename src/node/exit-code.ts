/**
 * Exit codes, after sysexits(3), and which error ends the process with which. Nothing that ends a
 * process is caught below main and lifecycle: a fatal error is thrown, and lands here.
 */
import { StorageError } from "../storage/kv.ts";
import { ConfigError } from "./config.ts";

export const exitCodes = {
  ok: 0,
  /** recover has said what it would do, and changed nothing. */
  planned: 3,
  usage: 64,
  /** A bug of ours. */
  software: 70,
  /** The store is damaged, or the disk fails. */
  storage: 74,
  /** The configuration cannot be used here. */
  config: 78,
} as const;

const takenByDev = "; with --dev it will do, for a trial";

/** Errors of bind(2) that the configuration can mend. */
const listenErrors = new Set(["EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "ENOTFOUND", "EAI_AGAIN"]);

/** The exit code for an error that ends the process. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return exitCodes.config;
  if (error instanceof StorageError) {
    switch (error.code) {
      case "locked":
      case "foreign":
      case "newer_format":
      case "unsuitable":
        return exitCodes.config;
      case "closed":
        return exitCodes.software;
      default:
        return exitCodes.storage;
    }
  }
  const isListen =
    error instanceof Error &&
    "syscall" in error &&
    "code" in error &&
    typeof error.code === "string";
  return isListen && listenErrors.has(error.code as string) ? exitCodes.config : exitCodes.software;
}

/** Lines for standard error: what is wrong, without a stack unless it is our bug. */
export function describeError(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.problems;
  if (!(error instanceof Error)) return [String(error)];
  if (exitCodeOf(error) === exitCodes.software) return (error.stack ?? error.message).split("\n");
  const way = error instanceof StorageError && error.code === "unsuitable" ? takenByDev : "";
  return [error.message + way];
}
