/**
 * How long a leader that lives is silent at times. On a line that loses packets everything behind a
 * lost one waits for it, and elections whose timeout is shorter than that replace leaders that could
 * go on. The timeout grows with the silences that were seen to end, and shrinks again with time.
 *
 * The second longest counts: one stall of a process says nothing of the line.
 */
import { assert } from "../base/assert.ts";

/** A timeout of so many times the silence that was seen, in quarters. */
const marginQuarters = 6;
/** Ticks after which what was seen counts a quarter less. */
const fadeTicks = 200;

export class Pace {
  /** Election timeout at least, in ticks: `base`..`max`. */
  timeout: number;
  private readonly base: number;
  private readonly max: number;
  private longest = 0;
  private second = 0;
  private ticks = 0;

  /** @param max - a longer silence is an outage, from which nothing is learned */
  constructor(base: number, max: number) {
    assert(max >= base, "timeouts grow", base, max);
    this.base = base;
    this.max = max;
    this.timeout = base;
  }

  tick(): void {
    if (this.longest === 0 || ++this.ticks < fadeTicks) return;
    this.ticks = 0;
    this.longest = Math.floor((this.longest * 3) / 4);
    this.second = Math.floor((this.second * 3) / 4);
    this.update();
  }

  /** A member that is in its place was heard again after so many ticks. */
  heardAfter(ticks: number): void {
    if (ticks <= this.second || ticks > this.max) return;
    this.second = Math.min(ticks, this.longest);
    this.longest = Math.max(ticks, this.longest);
    this.update();
  }

  private update(): void {
    const wanted = Math.ceil((this.second * marginQuarters) / 4);
    this.timeout = Math.min(Math.max(wanted, this.base), this.max);
  }
}
