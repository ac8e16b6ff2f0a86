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
  /** Time and monotonic clock from which on this process is measured. */
  private fromMs = 0;
  private fromMonotonic = 0;
  private lastMs = 0;
  private isFirst = true;

  /** A process has opened its store. @param lastMs - time of the last entry that is durable */
  started(lastMs: number, wallMs: number, monotonicMs: number): void {
    this.lastMs = lastMs;
    this.fromMs = wallMs;
    this.fromMonotonic = monotonicMs;
    this.isFirst = true;
  }

  /**
   * An entry with this time is put into a batch.
   * @param heldMs - how long it may have waited in memory
   */
  entry(timeMs: number, monotonicMs: number, heldMs: number): void {
    const elapsed = monotonicMs - this.fromMonotonic;
    const least = Math.floor(this.fromMs + elapsed * (1 - slewRate)) - slackMs;
    const from = this.isFirst ? Math.max(this.fromMs, this.lastMs) : this.fromMs;
    const most = Math.ceil(from + elapsed * (1 + slewRate)) + slackMs + heldMs;
    must(timeMs <= most, "leader time does not run ahead", timeMs, most);
    must(timeMs >= this.lastMs, "leader time does not go back", timeMs, this.lastMs);
    must(timeMs >= least - heldMs, "leader time does not fall behind", timeMs, least);
    this.lastMs = timeMs;
    if (!this.isFirst) return;
    this.isFirst = false;
    this.fromMs = timeMs;
    this.fromMonotonic = monotonicMs;
  }
}
