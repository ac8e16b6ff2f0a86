/** A server that is not ours, on loopback, with a directory of its own: started, awaited, ended by its id. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { sleep } from "../measure/sleep.ts";

const readyWithinMs = 60_000;
const readyLookMs = 20;
const stopWithinMs = 30_000;
/** The end of what it printed, for the message when it dies. */
const outputKept = 4096;

export interface DaemonOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export class Daemon {
  private readonly program: string;
  private readonly child: ChildProcess;
  private output = "";

  constructor({ program, args, env }: DaemonOptions) {
    this.program = program;
    const child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      ...(env && { env }),
    });
    const keep = (text: string) => {
      this.output = (this.output + text).slice(-outputKept);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    // what cannot be started says so when it is awaited
    child.on("error", (error) => keep(error.message));
    // whatever ends the bench ends its servers
    const orphaned = () => child.kill("SIGKILL");
    process.once("exit", orphaned);
    child.once("exit", () => process.removeListener("exit", orphaned));
    this.child = child;
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(this.failure("did not start"));
    return this.child.pid;
  }

  get isRunning(): boolean {
    const { pid, exitCode, signalCode } = this.child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /** Waits until `look` says yes. @throws Error when the process ends before, or is not ready in time */
  async until(look: () => Promise<boolean>): Promise<void> {
    const from = performance.now();
    while (!(await look())) {
      if (!this.isRunning) throw new Error(this.failure("ended"));
      if (performance.now() - from > readyWithinMs) throw new Error(this.failure("is not ready"));
      await sleep(readyLookMs);
    }
  }

  /** Waits until a port of loopback takes connections. */
  listening(port: number): Promise<void> {
    return this.until(() => accepts(port));
  }

  /** @param tell - asks the server to end; by default SIGTERM to the process that was started */
  async stop(tell: () => void = () => this.child.kill("SIGTERM")): Promise<void> {
    if (!this.isRunning) return;
    const exit = once(this.child, "exit");
    const late = setTimeout(() => this.child.kill("SIGKILL"), stopWithinMs);
    tell();
    await exit;
    clearTimeout(late);
  }

  private failure(what: string): string {
    return `${this.program} ${what}: ${this.output}`;
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
