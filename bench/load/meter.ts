/** The clock of a load: warm-up, then seconds that are measured, then the drain. */
import { LatencyHistogram } from "../measure/histogram.ts";
import { sleep } from "../measure/sleep.ts";
import { Ledger } from "./ledger.ts";
import { type LoadEvent, type LoadResult, type Period, type Sample, stopWord } from "./protocol.ts";

const secondMs = 1000;
/** How often a drain looks whether it is over, and after how many looks alike it gives up (10 s). */
const drainLookMs = 20;
const stuckLooks = 500;
const unfinishedMax = 10;
const reasonsMax = 10;

export class Meter {
  readonly createAck = new LatencyHistogram();
  readonly endToEnd = new LatencyHistogram();
  readonly ledger: Ledger;
  readonly samples: Sample[] = [];
  readonly perShard: number[] = [];
  private readonly cyclesPerSecond: number[] = [];
  private readonly refusals = new Map<string, number>();
  private readonly say: (event: LoadEvent) => void;
  private isStopped = false;

  constructor(say: (event: LoadEvent) => void, existing = 0) {
    this.say = say;
    this.ledger = new Ledger(this.endToEnd, existing);
    process.on("message", (message) => {
      this.isStopped ||= message === stopWord;
    });
  }

  /** Microseconds since the process started, modulo 2^32. */
  nowUs(): number {
    return (performance.now() * 1000) >>> 0;
  }

  /** Counts an ack that was not ok, by its reason. */
  refused(reason: string): void {
    if (this.refusals.size >= reasonsMax && !this.refusals.has(reason)) return;
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
  }

  /** Waits for the period to end; rates and latencies of its warm-up are dropped. */
  async measure(period: Period): Promise<void> {
    await sleep(period.warmupMs);
    this.createAck.reset();
    this.endToEnd.reset();
    this.say({ kind: "measuring" });
    const from = performance.now();
    let sinceMs = from;
    let cycles = this.ledger.cycles;
    for (let endMs = secondMs; endMs <= period.measureMs && !this.isStopped; endMs += secondMs) {
      await sleep(from + endMs - performance.now());
      // a busy event loop calls late: each second counts as long as it was
      const nowMs = performance.now();
      const rate = ((this.ledger.cycles - cycles) * secondMs) / (nowMs - sinceMs);
      this.cyclesPerSecond.push(Math.round(rate));
      sinceMs = nowMs;
      cycles = this.ledger.cycles;
    }
    this.say({ kind: "measured" });
  }

  /** Waits until nothing is pending, or nothing has moved for long. */
  async drain(isDone: () => boolean): Promise<void> {
    let completed = this.ledger.completed;
    // counted in looks, not in time: a machine that was paused must not look like a stuck node
    for (let looks = 0; looks < stuckLooks && !isDone(); looks++) {
      await sleep(drainLookMs);
      if (this.ledger.completed !== completed) looks = 0;
      completed = this.ledger.completed;
    }
  }

  result(): LoadResult {
    return {
      cyclesPerSecond: this.cyclesPerSecond,
      createAck: this.createAck.summary(),
      endToEnd: this.endToEnd.summary(),
      counts: this.ledger.counts(),
      unfinished: this.ledger.unfinished(unfinishedMax),
      samples: this.samples,
      perShard: this.perShard,
      refusals: [...this.refusals].map(([reason, times]) => ({ reason, times })),
    };
  }
}
