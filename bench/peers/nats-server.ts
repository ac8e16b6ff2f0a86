/** Debian's nats-server with JetStream, on loopback, with a directory of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../free-port.ts";
import { sleep } from "../measure/sleep.ts";

const program = "nats-server";
const readyWithinMs = 10_000;
const readyLookMs = 20;

/** @throws Error when it is not installed */
export function natsVersion(): string {
  return execFileSync(program, ["--version"], { encoding: "utf8" }).trim();
}

export class NatsServer {
  /** host:port */
  readonly address: string;
  private readonly child: ChildProcess;
  private readonly directory: string;

  private constructor(port: number, folder: string) {
    this.address = `127.0.0.1:${port}`;
    this.directory = mkdtempSync(join(folder, "nats-bench-"));
    // file storage is the default of a stream; sync_interval stays at its default of two minutes
    const args = ["-js", "-sd", this.directory, "-a", "127.0.0.1", "-p", String(port)];
    const child = spawn(program, args, { stdio: "ignore" });
    const orphaned = () => child.kill("SIGKILL");
    process.once("exit", orphaned);
    child.once("exit", () => process.removeListener("exit", orphaned));
    this.child = child;
  }

  static async start(folder: string): Promise<NatsServer> {
    const port = await freePort();
    const server = new NatsServer(port, folder);
    const from = performance.now();
    while (!(await accepts(port))) {
      if (performance.now() - from > readyWithinMs) throw new Error(`${program} is not ready`);
      await sleep(readyLookMs);
    }
    return server;
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${program} does not run`);
    return this.child.pid;
  }

  async stop(): Promise<void> {
    const exit = once(this.child, "exit");
    this.child.kill("SIGTERM");
    await exit;
    rmSync(this.directory, { recursive: true, force: true });
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
