/**
 * Metrics in Prometheus' text format. The one door of prom-client; a registry of its own, so that
 * two nodes in one process do not share numbers.
 *
 * Labels are given when an instrument is made, never per event, and the number of label sets of
 * one name is bounded: what a client sends cannot become a series. Counters and gauges are plain
 * fields that are handed to prom-client at a scrape: its own `inc` hashes the labels each time.
 */
import { Counter as PromCounter, Gauge as PromGauge, Registry } from "prom-client";
import { assert } from "../base/assert.ts";
import type { Counter, Gauge, GaugeSample, Histogram, Metrics } from "../base/effects.ts";
import { limits } from "../base/limits.ts";

export interface MetricsRegistry extends Metrics {
  /** The whole exposition, for one scrape. */
  render(): Promise<string>;
  /** Media type of what `render` gives. */
  readonly contentType: string;
}

type Labels = Readonly<Record<string, string>>;

/** One instrument of a counter or gauge family: a number and its labels. */
class Series implements Counter, Gauge {
  readonly labels: Labels;
  value = 0;

  constructor(labels: Labels) {
    this.labels = labels;
  }

  add(value: number): void {
    this.value += value;
  }

  set(value: number): void {
    this.value = value;
  }
}

/**
 * A histogram's numbers: plain counts per bucket. prom-client's own `observe` took 1.2 % of the CPU
 * of a node with one task per message.
 */
class HistogramSeries implements Histogram {
  readonly labels: Labels;
  private readonly bounds: readonly number[];
  private readonly counts: Float64Array;
  private sum = 0;

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds, counts } = this;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] as number)) i++;
    counts[i] = (counts[i] as number) + 1;
    this.sum += value;
  }

  /** In prom-client's form, buckets cumulated. */
  values(name: string) {
    const { labels, bounds, counts } = this;
    let below = 0;
    const buckets = Array.from(counts, (count, i) => {
      below += count;
      const le = i < bounds.length ? String(bounds[i]) : "+Inf";
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: below };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.sum },
      { metricName: `${name}_count`, labels, value: below },
    ];
  }
}

/** Gives prom-client a family of our own histograms. */
class HistogramFamily {
  readonly name: string;
  readonly series: HistogramSeries[] = [];
  private readonly help: string;
  private readonly bounds: readonly number[];

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.bounds = bounds;
  }

  labels(labels: Labels): Histogram {
    const key = JSON.stringify(labels);
    const known = this.series.find((one) => JSON.stringify(one.labels) === key);
    if (known) return known;
    assert(this.series.length < limits.metricSeries, "series of one metric", this.name);
    const made = new HistogramSeries(labels, this.bounds);
    this.series.push(made);
    return made;
  }

  async get() {
    const values = this.series.flatMap((one) => one.values(this.name));
    return { name: this.name, help: this.help, type: "histogram", values, aggregator: "sum" };
  }
}

type Family =
  | { readonly kind: "counter"; readonly metric: PromCounter; readonly series: Series[] }
  | { readonly kind: "gauge"; readonly metric: PromGauge; readonly series: Series[] }
  | { readonly kind: "collected"; readonly refresh: () => void }
  | { readonly kind: "histogram"; readonly metric: HistogramFamily };

export function createMetrics(): MetricsRegistry {
  return new PromMetrics();
}

class PromMetrics implements MetricsRegistry {
  private readonly registry = new Registry();
  private readonly families = new Map<string, Family>();

  get contentType(): string {
    return this.registry.contentType;
  }

  counter(name: string, help: string, labels: Labels = {}): Counter {
    let family = this.families.get(name);
    if (family === undefined) {
      family = {
        kind: "counter",
        metric: new PromCounter(this.config(name, help, labels)),
        series: [],
      };
      this.families.set(name, family);
    }
    assert(family.kind === "counter", "one metric has one kind", name, family.kind);
    return addSeries(family.series, name, labels);
  }

  gauge(name: string, help: string, labels: Labels = {}): Gauge {
    let family = this.families.get(name);
    if (family === undefined) {
      family = {
        kind: "gauge",
        metric: new PromGauge(this.config(name, help, labels)),
        series: [],
      };
      this.families.set(name, family);
    }
    assert(family.kind === "gauge", "one metric has one kind", name, family.kind);
    return addSeries(family.series, name, labels);
  }

  gaugeFrom(name: string, help: string, collect: () => readonly GaugeSample[]): void {
    assert(!this.families.has(name), "a collected gauge is made once", name);
    let metric: PromGauge | undefined;
    const refresh = () => {
      const samples = collect();
      const first = samples[0];
      if (first === undefined) return metric?.reset();
      // Only the first samples tell which labels there are.
      metric ??= new PromGauge(this.config(name, help, first.labels ?? {}));
      metric.reset();
      for (const { labels = {}, value } of samples.slice(0, limits.metricSeries)) {
        metric.set(labels, value);
      }
    };
    this.families.set(name, { kind: "collected", refresh });
  }

  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labels: Labels = {},
  ): Histogram {
    let family = this.families.get(name);
    if (family === undefined) {
      const metric = new HistogramFamily(name, help, buckets);
      // All that the registry asks of a metric is its name and `get`.
      this.registry.registerMetric(metric as unknown as PromGauge);
      family = { kind: "histogram", metric };
      this.families.set(name, family);
    }
    assert(family.kind === "histogram", "one metric has one kind", name, family.kind);
    return family.metric.labels(labels);
  }

  render(): Promise<string> {
    for (const family of this.families.values()) refresh(family);
    return this.registry.metrics();
  }

  private config(name: string, help: string, labels: Labels) {
    return { name, help, labelNames: Object.keys(labels), registers: [this.registry] };
  }
}

function addSeries(all: Series[], name: string, labels: Labels): Series {
  const key = JSON.stringify(labels);
  const known = all.find((one) => JSON.stringify(one.labels) === key);
  if (known !== undefined) return known;
  assert(all.length < limits.metricSeries, "series of one metric", name, all.length);
  const made = new Series(labels);
  all.push(made);
  return made;
}

/** Hands the current numbers of a family to prom-client. */
function refresh(family: Family): void {
  switch (family.kind) {
    case "counter":
      family.metric.reset();
      for (const { labels, value } of family.series) family.metric.inc(labels, value);
      break;
    case "gauge":
      for (const { labels, value } of family.series) family.metric.set(labels, value);
      break;
    case "collected":
      family.refresh();
      break;
    case "histogram":
      break;
  }
}
