/**
 * How often something happens: a counter that decays. Kept by each replica for itself, by queue
 * time; no part of the replicated state. Two numbers, however many events there are.
 */

/** Ms after which an event counts 1/e: a change of pace shows after some seconds. */
const decayMs = 10_000;

export class Rate {
  private weight = 0;
  private atMs = 0;

  add(count: number, nowMs: number): void {
    this.weight = this.decayed(nowMs) + count;
    this.atMs = Math.max(this.atMs, nowMs);
  }

  /** Events per second, rounded to hundredths. */
  perSecond(nowMs: number): number {
    return Math.round((this.decayed(nowMs) * 100_000) / decayMs) / 100;
  }

  private decayed(nowMs: number): number {
    if (this.weight === 0) return 0;
    return this.weight * Math.exp(-Math.max(0, nowMs - this.atMs) / decayMs);
  }
}
