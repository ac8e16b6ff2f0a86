/** The built server as a process: starts it on free loopback ports, speaks to it, ends it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const entry = fileURLToPath(new URL("../../dist/main.cjs", import.meta.url));
/** A start, or a command, that takes longer is stuck. */
const patienceMs = 20_000;

/** Every secret of these tests holds this text: nothing that a server writes may. */
export const canary = "canary-5f1d";

export type Env = Readonly<Record<string, string>>;

export interface Ended {
  /** Exit code, or the signal that killed it. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Ports {
  readonly http: number;
  readonly grpc: number;
  readonly metrics: number;
}

/** Runs to the end; the environment is empty but for PATH and `env`. */
export async function runQuorumq(
  args: readonly string[],
  env: Env = {},
  cwd?: string,
): Promise<Ended> {
  const { child, ended } = spawnQuorumq(args, env, cwd);
  const watchdog = setTimeout(() => child.kill("SIGKILL"), patienceMs);
  const end = await ended;
  clearTimeout(watchdog);
  return end;
}

interface Spawned {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly output: { stdout: string; stderr: string };
}

function spawnQuorumq(args: readonly string[], env: Env, cwd?: string, script = entry): Spawned {
  const child = spawn(process.execPath, ["--enable-source-maps", script, ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd !== undefined && { cwd }),
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output.stderr += text;
  });
  const ended = once(child, "close").then(([code, signal]): Ended => {
    const told = `${output.stdout}${output.stderr}`
      .split("\n")
      .find((line) => line.includes(canary));
    if (told !== undefined) throw new Error(`a secret was told: ${told}`);
    return { code: (code ?? signal) as number | string, ...output };
  });
  return { child, ended, output };
}

/** Ports that were free a moment ago. */
export async function freePorts(): Promise<Ports> {
  const [http, grpc, metrics] = await Promise.all([freePort(), freePort(), freePort()]);
  return { http, grpc, metrics };
}

/** Below the range that the kernel takes for outgoing connections: those would come between. */
const firstPort = 12_000;
const lastPort = 32_000;
const given = new Set<number>();

/** A port that was free a moment ago and is given to nobody else in this process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = firstPort + Math.floor(Math.random() * (lastPort - firstPort));
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/** The environment that puts a server on these ports. */
export function portsEnv(ports: Ports): Env {
  return {
    PORT: String(ports.http),
    PRODUCER_STREAM_ADDR: `127.0.0.1:${ports.grpc}`,
    METRICS_ADDR: `127.0.0.1:${ports.metrics}`,
  };
}

/** A directory of the test's own; `remove` takes it away with everything in it. */
export function makeDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "quorumq-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export interface Server {
  readonly url: string;
  readonly ports: Ports;
  readonly pid: number;
  /** What it wrote so far. */
  readonly output: { readonly stdout: string; readonly stderr: string };
  signal(name: NodeJS.Signals): void;
  /** Resolves when it has ended, by itself or by a signal. */
  readonly ended: Promise<Ended>;
}

/** Starts a server, on ports of its own or on these, and waits until /readyz says yes. */
export async function startServer(dataPath: string, env: Env = {}, given?: Ports): Promise<Server> {
  const server = await launchServer(dataPath, env, given);
  await untilReady(server);
  return server;
}

/** Starts a server and waits for nothing. @param script - of another build */
export async function launchServer(
  dataPath: string,
  env: Env = {},
  given?: Ports,
  script?: string,
): Promise<Server> {
  const ports = given ?? (await freePorts());
  const settings = {
    ...portsEnv(ports),
    QUORUMQ_STORAGE_PATH: dataPath,
    QUORUMQ_DEV: "true",
    ...env,
  };
  const { child, ended, output } = spawnQuorumq(["serve"], settings, undefined, script);
  const url = `http://127.0.0.1:${ports.http}`;
  const signal = (name: NodeJS.Signals) => void child.kill(name);
  return { url, ports, pid: child.pid ?? 0, output, signal, ended };
}

/** Waits until /readyz says yes. @throws if it ends before, or takes too long */
export async function untilReady({ url, ended, output, signal }: Server): Promise<void> {
  const state = { hasEnded: false };
  void ended.then(() => {
    state.hasEnded = true;
  });
  const deadline = performance.now() + patienceMs;
  while (!(await isReady(url))) {
    if (state.hasEnded || performance.now() > deadline) {
      signal("SIGKILL");
      const { code } = await ended;
      throw new Error(`not ready (${code}): ${output.stderr}${output.stdout}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    return false; // not listening yet
  }
}
