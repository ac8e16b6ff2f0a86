/** A node of the build in dist, in its own process, on free loopback ports and its own directory. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";
import type { Target } from "./load/protocol.ts";
import { sleep } from "./measure/sleep.ts";
import { distFolder, flagsOfStart } from "./paths.ts";

const readyWithinMs = 60_000;
const readyLookMs = 5;
const stopWithinMs = 60_000;
/** The end of stderr, for the message when a node dies. */
const stderrKept = 4096;

export interface NodeOptions {
  /** Folder in which the data directory is made; on a real disk. */
  readonly folder: string;
  /** Configuration beside addresses, path and tokens. */
  readonly env: Readonly<Record<string, string>>;
  /** Flags of Node itself, such as `--cpu-prof`. */
  readonly execArgv: readonly string[];
  /** Where they are the choice of others: the nodes of a cluster share a token. */
  readonly token?: string;
  readonly ports?: { readonly http: number; readonly grpc: number };
}

export class NodeProcess {
  readonly target: Target;
  private readonly options: NodeOptions;
  private readonly directory: string;
  private readonly settings: Readonly<Record<string, string>>;
  private child: ChildProcess | null = null;
  private stderr = "";
  /** How it ended, if nobody asked it to. */
  death: string | null = null;

  private constructor(
    options: NodeOptions,
    ports: { readonly http: number; readonly grpc: number },
  ) {
    const token = options.token ?? randomBytes(24).toString("hex");
    const grpc = `127.0.0.1:${ports.grpc}`;
    this.options = options;
    this.directory = mkdtempSync(join(options.folder, "quorumq-bench-"));
    this.target = { grpc, http: `http://127.0.0.1:${ports.http}`, token };
    this.settings = {
      PORT: String(ports.http),
      PRODUCER_STREAM_ADDR: grpc,
      METRICS_ADDR: "off",
      QUORUMQ_STORAGE_PATH: this.directory,
      // an admin's as well: bench:failover has leadership handed over
      PRODUCER_AUTH_CONFIG: JSON.stringify({ token, subject: "producer", raw: { role: "ADMIN" } }),
      WORKER_AUTH_CONFIG: JSON.stringify({ token, subject: "worker", eventTypes: ["*"] }),
      ...options.env,
    };
  }

  /** Starts a node on an empty directory and waits until it is ready. */
  static async start(options: NodeOptions): Promise<NodeProcess> {
    const node = await NodeProcess.prepare(options);
    await node.launch();
    return node;
  }

  /** A node that is not started yet. */
  static async prepare(options: NodeOptions): Promise<NodeProcess> {
    const ports = options.ports ?? { http: await freePort(), grpc: await freePort() };
    return new NodeProcess(options, ports);
  }

  get pid(): number {
    const pid = this.child?.pid;
    if (pid === undefined) throw new Error("the node does not run");
    return pid;
  }

  get isRunning(): boolean {
    return this.child !== null;
  }

  /** @returns ms from the start of the process to /readyz 200 */
  async launch(): Promise<number> {
    const entry = fileURLToPath(new URL("main.cjs", distFolder));
    const from = performance.now();
    const child = spawn(
      process.execPath,
      [...flagsOfStart(), ...this.options.execArgv, entry, "serve"],
      {
        env: { PATH: process.env["PATH"] ?? "", ...this.settings },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-stderrKept);
    });
    this.child = child;
    // whatever ends the bench ends its node
    const orphaned = () => child.kill("SIGKILL");
    process.once("exit", orphaned);
    child.once("exit", (code, signal) => {
      process.removeListener("exit", orphaned);
      if (this.child === child)
        this.death = `the node ended with ${code ?? signal}: ${this.stderr}`;
    });
    while (!(await this.isReady())) {
      if (this.death !== null) throw new Error(this.death);
      if (performance.now() - from > readyWithinMs) throw new Error("the node is not ready");
      await sleep(readyLookMs);
    }
    return performance.now() - from;
  }

  /** Ends it as a crash does; `launch` starts it again on the same data. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** Stops it as an operator does; `launch` starts it again on the same data. */
  async shutDown(): Promise<void> {
    await this.end("SIGTERM");
  }

  /** SIGSTOP and SIGCONT: it stands still, and goes on. */
  signal(name: "SIGSTOP" | "SIGCONT"): void {
    this.child?.kill(name);
  }

  /** Stops it as an operator does, and removes its data. */
  async stop(): Promise<void> {
    await this.end("SIGTERM");
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** GET with the node's token. @throws Error for any status but 200 */
  async get(path: string): Promise<string> {
    const headers = { authorization: `Bearer ${this.target.token}` };
    const response = await fetch(this.target.http + path, { headers });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text}`);
    return text;
  }

  /** Bytes of all files in the data directory. */
  diskBytes(): number {
    let bytes = 0;
    for (const name of readdirSync(this.directory, { recursive: true, encoding: "utf8" })) {
      try {
        const stat = statSync(join(this.directory, name));
        if (stat.isFile()) bytes += stat.size;
      } catch {
        // Removed by a compaction since the folder was read.
      }
    }
    return bytes;
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    const late = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
    child.kill(signal);
    await exit;
    clearTimeout(late);
  }

  private async isReady(): Promise<boolean> {
    try {
      const response = await fetch(`${this.target.http}/readyz`);
      await response.arrayBuffer();
      return response.status === 200;
    } catch {
      return false;
    }
  }
}
