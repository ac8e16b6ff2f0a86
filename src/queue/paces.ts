/**
 * How often tasks are created in each queue, and how often they end: counters that decay. Kept by each
 * replica for itself, by queue time; no part of the replicated state. Three numbers per queue in
 * columns, since there may be a million queues.
 */

/** Ms after which an event counts 1/e: a change of pace shows after some seconds. */
const decayMs = 10_000;
/** Queues in one piece of the columns; ids are given one after the other. */
const pieceQueues = 512;
const numbers = 3;

/** Places of a queue's numbers: both counts as of the time. */
const created = 0;
const settled = 1;
const at = 2;

export interface Pace {
  /** Events per second, rounded to hundredths. */
  readonly createdPerSecond: number;
  readonly settledPerSecond: number;
}

export class Paces {
  private readonly pieces: (Float64Array | undefined)[] = [];

  addCreated(queueId: number, count: number, nowMs: number): void {
    this.add(queueId, created, count, nowMs);
  }

  addSettled(queueId: number, count: number, nowMs: number): void {
    this.add(queueId, settled, count, nowMs);
  }

  of(queueId: number, nowMs: number): Pace {
    const piece = this.pieces[Math.floor(queueId / pieceQueues)];
    const from = (queueId % pieceQueues) * numbers;
    const perSecond = (which: number): number => {
      if (!piece) return 0;
      const count = (piece[from + which] as number) * left(piece[from + at] as number, nowMs);
      return Math.round((count * 100_000) / decayMs) / 100;
    };
    return { createdPerSecond: perSecond(created), settledPerSecond: perSecond(settled) };
  }

  private add(queueId: number, which: number, count: number, nowMs: number): void {
    const index = Math.floor(queueId / pieceQueues);
    this.pieces[index] ??= new Float64Array(pieceQueues * numbers);
    const piece = this.pieces[index];
    const from = (queueId % pieceQueues) * numbers;
    const share = left(piece[from + at] as number, nowMs);
    (piece[from + created] as number) *= share;
    (piece[from + settled] as number) *= share;
    piece[from + at] = Math.max(piece[from + at] as number, nowMs);
    (piece[from + which] as number) += count;
  }
}

/** What is left by now of an event that counted 1. */
function left(atMs: number, nowMs: number): number {
  return atMs >= nowMs ? 1 : Math.exp((atMs - nowMs) / decayMs);
}
