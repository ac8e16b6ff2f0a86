/** What another process uses, from /proc (proc(5)); Linux only. */
import { existsSync, readFileSync } from "node:fs";
import { parseProcStatus } from "../../src/platform/process-metrics.ts";

/** Of USER_HZ, which is 100 on every Linux that Node runs on. */
const msPerTick = 10;

/** @returns ms of CPU, user and system, of all threads since the start; resolution 10 ms */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return parseCpuTicks(stat) * msPerTick;
}

/** The fields utime and stime, counted from behind the name, which may hold anything. */
export function parseCpuTicks(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** Use of a process over a time. */
export interface Usage {
  readonly cpuMs: number;
  /** Highest of anonymous + shared, and the highest of mapped files beside it; bytes. */
  readonly rssMax: number;
  readonly mappedMax: number;
  /** Longest time between two looks: far above `watchEveryMs`, the machine itself stood still. */
  readonly longestGapMs: number;
}

const watchEveryMs = 100;

/** Looks at a process again and again until `stop`. */
export class UsageWatch {
  private readonly pid: number;
  private readonly cpuMsBefore: number;
  private readonly timer: NodeJS.Timeout;
  private rssMax = 0;
  private mappedMax = 0;
  private longestGapMs = 0;
  private lookedMs = performance.now();

  constructor(pid: number) {
    this.pid = pid;
    this.cpuMsBefore = cpuMs(pid);
    this.timer = setInterval(() => {
      // a process that died is told by those who wait for it
      if (isGone(pid)) this.abandon();
      else this.look();
    }, watchEveryMs);
  }

  /** @throws Error when the process is gone */
  stop(): Usage {
    clearInterval(this.timer);
    this.look();
    const { rssMax, mappedMax, longestGapMs } = this;
    return { cpuMs: cpuMs(this.pid) - this.cpuMsBefore, rssMax, mappedMax, longestGapMs };
  }

  /** Stops watching a process that may be gone. */
  abandon(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    const nowMs = performance.now();
    this.longestGapMs = Math.max(this.longestGapMs, nowMs - this.lookedMs);
    this.lookedMs = nowMs;
    const status = readFileSync(`/proc/${this.pid}/status`, "latin1");
    const { anonymous, shared, mappedFiles } = parseProcStatus(status);
    this.rssMax = Math.max(this.rssMax, anonymous + shared);
    this.mappedMax = Math.max(this.mappedMax, mappedFiles);
  }
}

function isGone(pid: number): boolean {
  return !existsSync(`/proc/${pid}/status`);
}
