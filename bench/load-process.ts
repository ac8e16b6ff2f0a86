/** Runs a plan in a process of its own and watches both processes while it is measured. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type LoadEvent, type LoadPlan, type LoadResult, stopWord } from "./load/protocol.ts";
import { loadEntry } from "./load-build.ts";
import { type Usage, UsageWatch } from "./measure/process-usage.ts";
import { distFolder } from "./paths.ts";

export interface LoadOutcome extends LoadResult {
  /** Of the server and of the load, while measured. */
  readonly server: Usage;
  readonly load: Usage;
  /** Ms between the first and the last moment measured. */
  readonly elapsedMs: number;
}

export interface RunOptions {
  /** The process under load. */
  readonly serverPid: number;
  /** Flags of Node for the load process. */
  readonly execArgv: readonly string[];
  /** Called when the period measured begins. */
  readonly measuring?: () => void;
  /** Called when the period measured ends, before the drain. */
  readonly measured?: () => void;
  /** Ends the period measured when it fires, if it has not ended by itself. */
  readonly stop?: AbortSignal;
}

/** `buildLoad` comes first. @throws Error when the load fails or its process ends early */
export function runLoad(plan: LoadPlan, options: RunOptions): Promise<LoadOutcome> {
  const child = fork(loadEntry, [], {
    // without what started this process: the load is plain JavaScript
    execArgv: [...options.execArgv],
    env: { ...process.env, QUORUMQ_BENCH_DIST: fileURLToPath(distFolder) },
    serialization: "json",
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("the load process did not start");
  return new Promise((resolve, reject) => {
    let watches: readonly UsageWatch[] = [];
    let usages: readonly Usage[] = [];
    let fromMs = 0;
    let elapsedMs = 0;
    const stop = () => {
      for (const watch of watches) watch.abandon();
    };
    child.on("message", (message) => {
      const event = message as LoadEvent;
      switch (event.kind) {
        case "measuring":
          fromMs = performance.now();
          watches = [new UsageWatch(options.serverPid), new UsageWatch(pid)];
          options.measuring?.();
          return;
        case "measured":
          elapsedMs = performance.now() - fromMs;
          usages = watches.map((watch) => watch.stop());
          options.measured?.();
          return;
        case "done": {
          const [server, load] = usages;
          if (server === undefined || load === undefined) reject(new Error("nothing was measured"));
          else resolve({ ...event.result, server, load, elapsedMs });
          return;
        }
        case "failed":
          stop();
          reject(new Error(`the load failed: ${event.reason}`));
          return;
        default: {
          const unknown: never = event;
          reject(new Error(`the load said ${JSON.stringify(unknown)}`));
        }
      }
    });
    child.on("exit", (code) => {
      stop();
      // after "done" this changes nothing
      reject(new Error(`the load process ended with ${code}`));
    });
    child.send(plan);
    options.stop?.addEventListener("abort", () => child.send(stopWord));
  });
}
