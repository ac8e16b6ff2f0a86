/**
 * What stands beside QuorumQ in `bench:peers`. A peer is a program of others; it takes part in one or
 * several ways, each a rival with a line, a median and a ratio of its own.
 */
import { execFileSync } from "node:child_process";
import type { Period } from "../load/protocol.ts";
import type { LoadOutcome } from "../load-process.ts";
import { type Measurement, type Throughput, throughputOf } from "../measurement.ts";
import { ledgerProblems } from "../verify.ts";

/** How every rival is measured. */
export interface PeerRun {
  /** Where data directories are made. */
  readonly folder: string;
  /** 1, or a cluster of 3. */
  readonly nodes: number;
  readonly period: Period;
}

export interface Rival {
  /** Unique; names it in the results. */
  readonly name: string;
  /** For people who have not read how it is measured. */
  readonly title: string;
  /** When an acknowledged task is safe. */
  readonly durability: string;
  /** How many times as fast QuorumQ shall be, if that is promised. */
  readonly bar?: number;
  /** One run, on a server of its own. */
  readonly measure: () => Promise<Measurement>;
}

export interface Peer {
  readonly name: string;
  /** Debian's package with its server. */
  readonly debian: string;
  /** Program and client with their versions. @throws PeerMissingError */
  readonly version: () => string;
  /** Empty where it has no such form. */
  readonly rivals: (run: PeerRun) => readonly Rival[];
}

/** The program is not on this machine. */
export class PeerMissingError extends Error {}

/** Every peer gets the canonical payload and backlog (plans.ts). */
export const peerShape = { payloadBytes: 14, aheadMax: 20_000 } as const;

/** What a program prints. @throws PeerMissingError where it is not installed */
export function outputOf(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8" }).trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      throw new PeerMissingError(`${program} is not there`);
    }
    throw error;
  }
}

/** The measurement of a load on a server that cannot be asked for its own counts. */
export function measurementOf(
  outcome: LoadOutcome,
  words: Pick<Measurement, "scenario" | "label" | "durability" | "configuration">,
  more: (throughput: Throughput) => readonly string[] = () => [],
): Measurement {
  const throughput = throughputOf(outcome);
  const problems = [...ledgerProblems(outcome), ...more(throughput)];
  return { ...words, throughput, figures: {}, bars: [], problems };
}
