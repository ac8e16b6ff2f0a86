/** Who did how many cycles/s over the rounds of a contest, and what that makes beside QuorumQ. */
import { type Measurement, median } from "../measurement.ts";
import { rateText } from "../report.ts";
import type { Rival } from "./peer.ts";

/** What a contest leaves in the file of results, before its runs. */
export interface Summary {
  readonly scenario: "medians";
  readonly nodes: number;
  readonly isQuick: boolean;
  /** Programs and clients of the peers. */
  readonly versions: readonly string[];
  /** QuorumQ first. */
  readonly standings: readonly Standing[];
}

/** A rival's line in the results. */
export interface Standing {
  readonly name: string;
  readonly title: string;
  readonly durability: string;
  /** Cycles/s, of the valid rounds; null without one. */
  readonly median: number | null;
  readonly rounds: number;
  /** QuorumQ's median over this one's; null where one of them is missing, and for QuorumQ. */
  readonly ratio: number | null;
  readonly bar?: number;
}

export class Contest {
  readonly measurements: Measurement[] = [];
  private readonly rates = new Map<string, number[]>();

  /** Only a run in which nothing was lost or done twice counts. */
  add(name: string, measurement: Measurement): void {
    this.measurements.push(measurement);
    const { throughput, problems } = measurement;
    if (throughput === undefined || problems.length > 0) return;
    const rates = this.rates.get(name) ?? [];
    rates.push(throughput.cyclesPerSecond);
    this.rates.set(name, rates);
  }

  /** @param own - the name under which QuorumQ's runs were added, for all but itself */
  standing({ name, title, durability, bar }: Omit<Rival, "measure">, own?: string): Standing {
    const ours = own === undefined ? null : this.median(own);
    const theirs = this.median(name);
    return {
      name,
      title,
      durability,
      median: theirs,
      rounds: this.rates.get(name)?.length ?? 0,
      ratio: ours === null || theirs === null ? null : ours / theirs,
      ...(bar !== undefined && { bar }),
    };
  }

  private median(name: string): number | null {
    const rates = this.rates.get(name);
    return rates === undefined ? null : median(rates);
  }
}

export function standingText({ name, durability, median: rate, ratio, bar }: Standing): string {
  if (rate === null) return `${name}: no valid run`;
  const line = `${name} ${rateText(rate)} · ${durability}`;
  if (ratio === null) return line;
  const times = `${line} · ratio ${ratio.toFixed(2)}`;
  if (bar === undefined) return times;
  return `${times}, at least ${bar}: ${ratio >= bar ? "holds" : "MISSED"}`;
}
