/**
 * Leader time in the log follows the monotonic clock: in one process it runs within 0.5 % of it,
 * whatever the wall clock does; a process that has just started takes the later one of the last
 * entry's time and the wall clock.
 */
import { must } from "../violation.ts";

const slewRate = 0.005;
/** Rounding to integer ms, at both ends. */
const slackMs = 3;

export class LeaderTimeCheck {
  private startMs = -1;
  private startMonotonic = 0;
  private first = Number.POSITIVE_INFINITY;

  /** A process has opened its store. @param lastMs - time of the last entry that is durable */
  started(lastMs: number, wallMs: number, monotonicMs: number): void {
    this.first = lastMs;
    this.startMs = Math.max(lastMs, wallMs);
    this.startMonotonic = monotonicMs;
  }

  /**
   * An entry with this time is on its way to the disk.
   * @param held - it may have waited in memory
   */
  entry(timeMs: number, monotonicMs: number, held: boolean): void {
    const elapsed = monotonicMs - this.startMonotonic;
    const most = this.startMs + elapsed * (1 + slewRate) + slackMs;
    must(timeMs <= most, "leader time does not run ahead", timeMs, Math.floor(most));
    must(timeMs >= this.first, "leader time does not go back", timeMs, this.first);
    this.first = timeMs;
    if (held) return;
    const least = this.startMs + elapsed * (1 - slewRate) - slackMs;
    must(timeMs >= least, "leader time does not fall behind", timeMs, Math.floor(least));
  }
}
