/** The doctor's checks of what can be read without waiting: versions, limits, memory, clock. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { formatTime } from "../api/rfc3339.ts";
import { GiB, MiB } from "../base/limits.ts";
import { createClock } from "../platform/system.ts";
import type { Config } from "./config-keys.ts";
import { checkMachine, readMachine } from "./preflight.ts";

/** What one look gave. */
export interface Check {
  readonly name: string;
  /** fail: the node would not start, or would lose or refuse work. */
  readonly level: "ok" | "warn" | "fail";
  readonly detail: string;
  /** What to change; absent where all is well. */
  readonly advice?: string;
}

/** Memory that a node and its page cache are comfortable with. */
const memoryBytesMin = 512 * MiB;
const cpusMin = 2;
/** The first line of Node that is still looked after. */
const supportedMajor = 22;
const timedatectlMs = 2000;

/** @param version - as process.versions.node */
export function checkNode(version: string): Check {
  const name = "node";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    return { name, level: "fail", detail: version, advice: "needs 20.19 or newer; 24 is best" };
  }
  if (major < supportedMajor) {
    const advice = "this line gets no security fixes any more; use 24";
    return { name, level: "warn", detail: version, advice };
  }
  return { name, level: "ok", detail: version };
}

/** @param problems - of the configuration, one a line */
export function checkConfig(problems: readonly string[]): Check {
  const name = "configuration";
  if (problems.length === 0) return { name, level: "ok", detail: "can be used" };
  const advice = "quorumq serve --help lists every key with its rule";
  return { name, level: "fail", detail: problems.join("; "), advice };
}

/** Open files, threads, data directory, memory, cores. */
export function checkMachineFacts(config: Config): readonly Check[] {
  const path = config.storage.path;
  const facts = readMachine(path, createClock().wallMs());
  const { refused, warned } = checkMachine(facts, path);
  const memory = Math.min(totalmem(), readCgroupLimit());
  const cpus = availableParallelism();
  return [
    ...refused.map((detail): Check => ({ name: "machine", level: "fail", detail })),
    ...warned.map((detail): Check => ({ name: "machine", level: "warn", detail })),
    ...(refused.length + warned.length > 0
      ? []
      : [{ name: "machine", level: "ok", detail: `open files ${facts.openFilesMax}` } as const]),
    checkMemory(memory),
    cpus >= cpusMin
      ? { name: "cores", level: "ok", detail: String(cpus) }
      : {
          name: "cores",
          level: "warn",
          detail: String(cpus),
          advice: "a second one keeps the store's work away from the event loop",
        },
  ];
}

/** @param bytes - what this process may have */
export function checkMemory(bytes: number): Check {
  const name = "memory";
  const detail = `${(bytes / GiB).toFixed(1)} GiB`;
  if (bytes >= memoryBytesMin) return { name, level: "ok", detail };
  const advice = `give it ${memoryBytesMin / MiB} MiB or more`;
  return { name, level: "warn", detail, advice };
}

/** The limit of the control group, version 2 or 1; Infinity = none. */
function readCgroupLimit(): number {
  for (const path of ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]) {
    try {
      const value = Number(readFileSync(path, "latin1").trim());
      if (Number.isFinite(value)) return value;
    } catch {
      // not that version, or not Linux
    }
  }
  return Number.POSITIVE_INFINITY;
}

/** Whether something keeps the clock right: ids and retention follow it. */
export async function checkClock(): Promise<readonly Check[]> {
  const name = "clock";
  const synced = await new Promise<string>((resolve) => {
    const args = ["show", "-p", "NTPSynchronized", "--value"];
    execFile("timedatectl", args, { timeout: timedatectlMs }, (error, stdout) =>
      resolve(error === null ? stdout.trim() : ""),
    );
  });
  const now = formatTime(createClock().wallMs());
  if (synced === "yes") return [{ name, level: "ok", detail: `${now}, synchronized` }];
  const advice = "run chrony or systemd-timesyncd: ids, runAt and retention follow the clock";
  if (synced === "no") return [{ name, level: "warn", detail: `${now}, not synchronized`, advice }];
  return [{ name, level: "ok", detail: `${now}, who keeps it right is unknown` }];
}
