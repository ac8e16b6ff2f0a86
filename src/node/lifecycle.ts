/**
 * A node's life as a process: starting → running → stopping → ended. Signals move it on; a fatal
 * error ends it from anywhere.
 *
 * SIGTERM, SIGINT: stop in order, exit 0; while starting, as soon as the start is done. A second
 * one ends the process at once. SIGHUP: read the tokens again.
 */
import type { Effects, Logger } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { MetricsRegistry } from "../platform/metrics.ts";
import type { ConfigFiles } from "./config.ts";
import { describeError, exitCodeOf, exitCodes } from "./exit-code.ts";

/** What a process does with a node; node.ts makes one. */
export interface ManagedNode {
  /** Resolves when the node serves. May be called once. */
  start(): Promise<void>;
  /** No new work; resolves when everything in flight is done and all is closed. */
  stop(): Promise<void>;
  /** @throws ConfigError: the tokens in force stay */
  reloadTokens(): Promise<void>;
}

/** The world that a node is given. */
export interface NodeEffects extends Effects {
  readonly metrics: MetricsRegistry;
  /** For the tokens: read before anything is written, and on SIGHUP. */
  readonly configFiles: ConfigFiles;
}

/** The part of `process` that a life needs. */
export interface ProcessPort {
  on(event: string, listener: (value: unknown) => void): unknown;
  exit(code: number): void;
}

type Phase = "starting" | "running" | "stopping" | "ended";
type StopSignal = "SIGTERM" | "SIGINT";

/** 128 + the signal's number, as shells report it. */
const signalExitCodes: Readonly<Record<StopSignal, number>> = { SIGTERM: 143, SIGINT: 130 };

export interface Lifecycle {
  /** Starts the node; resolves when it serves, or has ended. */
  run(): Promise<void>;
}

export function createLifecycle(
  node: ManagedNode,
  effects: Pick<Effects, "logger" | "timers">,
  port: ProcessPort,
): Lifecycle {
  return new NodeLifecycle(node, effects, port);
}

class NodeLifecycle implements Lifecycle {
  private readonly node: ManagedNode;
  private readonly logger: Logger;
  private readonly timers: Effects["timers"];
  private readonly port: ProcessPort;
  private phase: Phase = "starting";
  /** The first signal that asked for the end. */
  private asked: StopSignal | null = null;

  constructor(node: ManagedNode, effects: Pick<Effects, "logger" | "timers">, port: ProcessPort) {
    this.node = node;
    this.logger = effects.logger;
    this.timers = effects.timers;
    this.port = port;
  }

  async run(): Promise<void> {
    this.port.on("uncaughtException", (error) => this.fail(error));
    this.port.on("unhandledRejection", (error) => this.fail(error));
    this.port.on("SIGTERM", () => this.signal("SIGTERM"));
    this.port.on("SIGINT", () => this.signal("SIGINT"));
    this.port.on("SIGHUP", () => void this.reload());
    try {
      await this.node.start();
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.phase !== "starting") return;
    this.phase = "running";
    if (this.asked !== null) await this.stop(this.asked);
  }

  private signal(name: StopSignal): void {
    if (this.asked !== null) {
      this.end(signalExitCodes[name]);
      return;
    }
    this.asked = name;
    if (this.phase === "running") void this.stop(name);
  }

  private async stop(name: StopSignal): Promise<void> {
    this.phase = "stopping";
    this.logger.info("stopping", { signal: name });
    const ms = limits.stopSeconds * 1000;
    const watchdog = this.timers.after(ms, () =>
      this.fail(new Error(`not stopped after ${ms} ms`)),
    );
    try {
      await this.node.stop();
    } catch (error) {
      this.fail(error);
      return;
    }
    watchdog.cancel();
    this.logger.info("stopped");
    this.end(exitCodes.ok);
  }

  private async reload(): Promise<void> {
    if (this.phase !== "running") return;
    try {
      await this.node.reloadTokens();
      this.logger.info("tokens read again");
    } catch (error) {
      const reason = describeError(error).join("; ");
      this.logger.error("tokens not read; those in force stay", { reason });
    }
  }

  private fail(error: unknown): void {
    if (this.phase === "ended") return;
    const code = exitCodeOf(error);
    const lines = describeError(error);
    // before it serves, a person looks at the terminal; later the log is what is kept
    if (this.phase === "starting") for (const line of lines) console.error(`quorumq: ${line}`);
    else this.logger.error("ends", { reason: lines.join("\n"), exitCode: code });
    this.end(code);
  }

  private end(code: number): void {
    this.phase = "ended";
    this.port.exit(code);
  }
}
