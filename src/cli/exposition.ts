/** Numbers out of Prometheus' text format, as far as our own metrics need it. */

export type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** The samples of one scrape, by metric. */
export class Exposition {
  private readonly samples = new Map<string, Sample[]>();

  constructor(text: string) {
    for (const line of text.split("\n")) {
      const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)/u.exec(line);
      if (match === null) continue;
      const [, name = "", labelText = "", value] = match;
      const labels: Record<string, string> = {};
      for (const [, key = "", text = ""] of labelText.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gu)) {
        labels[key] = text;
      }
      const rows = this.samples.get(name) ?? [];
      rows.push({ labels, value: Number(value) });
      this.samples.set(name, rows);
    }
  }

  /** Sum over the samples that have these labels; 0 if there is none. */
  sum(name: string, labels: Labels = {}): number {
    return this.of(name, labels).reduce((sum, { value }) => sum + value, 0);
  }

  /** Upper bounds of a histogram's buckets with their counts, over all that have these labels. */
  buckets(name: string, labels: Labels): readonly (readonly [number, number])[] {
    const counts = new Map<number, number>();
    for (const { labels: found, value } of this.of(`${name}_bucket`, labels)) {
      const bound = found["le"] === "+Inf" ? Number.POSITIVE_INFINITY : Number(found["le"]);
      counts.set(bound, (counts.get(bound) ?? 0) + value);
    }
    return [...counts].sort(([a], [b]) => a - b);
  }

  private of(name: string, labels: Labels): readonly Sample[] {
    const wanted = Object.entries(labels);
    return (this.samples.get(name) ?? []).filter((sample) =>
      wanted.every(([key, text]) => sample.labels[key] === text),
    );
  }
}

/**
 * A quantile of what a histogram counted between two scrapes, as the upper bound of its bucket.
 * @returns NaN if nothing was counted
 */
export function quantileBetween(
  before: Exposition,
  after: Exposition,
  { name, labels, quantile }: { name: string; labels: Labels; quantile: number },
): number {
  const earlier = new Map(before.buckets(name, labels));
  const counts = after
    .buckets(name, labels)
    .map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)] as const);
  const total = counts.at(-1)?.[1] ?? 0;
  if (total <= 0) return Number.NaN;
  return counts.find(([, count]) => count >= total * quantile)?.[0] ?? Number.NaN;
}
