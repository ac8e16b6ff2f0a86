/**
 * Ports to the world that every layer may need. Interfaces only: the real ones live in
 * platform/, the simulated ones in test/sim/.
 */

export interface Clock {
  /** Milliseconds since some fixed point; never goes back, does not jump. May have fractions. */
  monotonicMs(): number;
  /** Wall clock, integer ms since 1970. May jump either way. */
  wallMs(): number;
}

export interface TimerHandle {
  cancel(): void;
  /** The process need not live on for it; absent where it would not anyway. */
  unref?(): void;
}

export interface Timers {
  /** Calls back once, not before `delayMs` (0..3,600,000) have passed. */
  after(delayMs: number, callback: () => void): TimerHandle;
  /** Calls back in this turn of the event loop, after the current callbacks (setImmediate). */
  soon(callback: () => void): void;
}

export interface Random {
  /** Fills the bytes from a source fit for ids and secrets. */
  fill(bytes: Uint8Array): void;
  /** Uniform in 0 ≤ x < 1. */
  unit(): number;
}

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  debug(text: string, fields?: LogFields): void;
  info(text: string, fields?: LogFields): void;
  warn(text: string, fields?: LogFields): void;
  error(text: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}

/** Instruments are made once at wiring time; the hot path only calls add / set / observe. */
export interface Counter {
  add(value: number): void;
}

export interface Gauge {
  set(value: number): void;
}

export interface Histogram {
  /** @param seconds - or the unit the name says */
  observe(value: number): void;
}

export interface Metrics {
  counter(name: string, help: string, labels?: Readonly<Record<string, string>>): Counter;
  gauge(name: string, help: string, labels?: Readonly<Record<string, string>>): Gauge;
  /** A gauge whose value is asked for at each scrape. */
  gaugeFrom(name: string, help: string, collect: () => readonly GaugeSample[]): void;
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: Readonly<Record<string, string>>,
  ): Histogram;
}

export interface GaugeSample {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Everything of the world that a wired object takes, in one bag. */
export interface Effects {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}
