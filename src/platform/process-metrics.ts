/**
 * What the process itself uses: CPU, memory, and how late the event loop runs.
 *
 * Memory is told in two parts, since LevelDB maps its tables: anonymous and shared pages are ours,
 * mapped files belong to the page cache and can be dropped by the kernel at any time.
 */
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { GaugeSample, Metrics } from "../base/effects.ts";

/** Event-loop delay since the last `reset`, in ms. */
export interface LoopDelay {
  readonly meanMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface ProcessMetrics {
  loopDelay(): LoopDelay;
  /** Starts the next period of loopDelay. */
  resetLoopDelay(): void;
  /** Stops measuring. */
  close(): void;
}

/** Bytes of resident memory, as the kernel counts them. */
export interface ResidentMemory {
  readonly anonymous: number;
  readonly shared: number;
  readonly mappedFiles: number;
}

/** Share of a core below which a process is idle. */
const idleShare = 0.05;
const lookEveryMs = 500;

/**
 * Measures the event loop once per ms while the process works: that alone would keep an idle one at
 * 2 % of a core.
 */
class LoopWatch {
  /** Of the present or the last time of work: a monitor that pauses counts its pause as a delay. */
  delays = startedMonitor();
  private isWatching = true;
  private readonly timer: NodeJS.Timeout;
  private cpuUs = cpuUs();

  constructor() {
    this.timer = setInterval(() => this.look(), lookEveryMs);
    this.timer.unref();
  }

  private look(): void {
    const now = cpuUs();
    const share = (now - this.cpuUs) / (lookEveryMs * 1000);
    this.cpuUs = now;
    const works = share > idleShare;
    if (works === this.isWatching) return;
    this.isWatching = works;
    if (works) this.delays = startedMonitor();
    else this.delays.disable();
  }

  close(): void {
    clearInterval(this.timer);
    this.delays.disable();
  }
}

function startedMonitor(): ReturnType<typeof monitorEventLoopDelay> {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  return monitor;
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Registers the process's metrics and starts to measure the event loop. */
export function startProcessMetrics(metrics: Metrics): ProcessMetrics {
  const watch = new LoopWatch();
  const loopDelay = (): LoopDelay => ({
    meanMs: excessMs(watch.delays.mean),
    p99Ms: excessMs(watch.delays.percentile(99)),
    maxMs: excessMs(watch.delays.max),
  });
  metrics.gaugeFrom(
    "quorumq_event_loop_delay_seconds",
    "How much later than asked for the event loop called back, in the present period",
    () => {
      const { meanMs, p99Ms, maxMs } = loopDelay();
      return [
        { value: meanMs / 1000, labels: { stat: "mean" } },
        { value: p99Ms / 1000, labels: { stat: "p99" } },
        { value: maxMs / 1000, labels: { stat: "max" } },
      ];
    },
  );
  metrics.gaugeFrom(
    "quorumq_process_resident_bytes",
    "Resident memory: anonymous and shared pages, and mapped files",
    () => memorySamples(readResidentMemory()),
  );
  metrics.gaugeFrom("quorumq_process_cpu_seconds", "CPU time used so far", () => {
    const { user, system } = process.cpuUsage();
    return [
      { value: user / 1e6, labels: { mode: "user" } },
      { value: system / 1e6, labels: { mode: "system" } },
    ];
  });
  metrics.gaugeFrom(
    "quorumq_process_start_time_seconds",
    "When the process started, in seconds since 1970",
    () => [{ value: performance.timeOrigin / 1000 }],
  );
  metrics.gaugeFrom("quorumq_process_heap_bytes", "JavaScript heap in use", () => [
    { value: process.memoryUsage().heapUsed },
  ]);
  return {
    loopDelay,
    resetLoopDelay: () => watch.delays.reset(),
    close: () => watch.close(),
  };
}

/** The monitor's numbers contain its own interval of 1 ms; before the first sample they are NaN. */
function excessMs(nanoseconds: number): number {
  return Number.isFinite(nanoseconds) ? Math.max(nanoseconds / 1e6 - 1, 0) : 0;
}

function memorySamples(memory: ResidentMemory): GaugeSample[] {
  return [
    { value: memory.anonymous, labels: { kind: "anonymous" } },
    { value: memory.shared, labels: { kind: "shared" } },
    { value: memory.mappedFiles, labels: { kind: "mapped_files" } },
  ];
}

/** Reads /proc/self/status; elsewhere than on Linux everything counts as anonymous. */
export function readResidentMemory(): ResidentMemory {
  let status: string;
  try {
    status = readFileSync("/proc/self/status", "latin1");
  } catch {
    // No /proc here: the whole resident size is all that can be said.
    return { anonymous: process.memoryUsage.rss(), shared: 0, mappedFiles: 0 };
  }
  return parseProcStatus(status);
}

/** The three parts of VmRSS from the text of /proc/<pid>/status (proc(5); values in kB). */
export function parseProcStatus(status: string): ResidentMemory {
  const bytes = (name: string) => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, "mu").exec(status);
    return Number(found?.[1] ?? 0) * 1024;
  };
  return {
    anonymous: bytes("RssAnon"),
    shared: bytes("RssShmem"),
    mappedFiles: bytes("RssFile"),
  };
}
