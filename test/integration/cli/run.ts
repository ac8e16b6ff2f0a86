/** The command line as a process against a server of the test's own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Env, Server } from "../process.ts";

const entry = fileURLToPath(new URL("../../../dist/main.cjs", import.meta.url));
/** A command that takes longer is stuck. */
const patienceMs = 60_000;

export interface CliOptions {
  /** Written to standard input, which then ends; absent: it is empty. */
  readonly stdin?: string | Buffer;
  readonly env?: Env;
}

export interface CliEnd {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  /** What it wrote so far. */
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<CliEnd>;
  /** Resolves when standard output or error holds the text. */
  until(text: string): Promise<void>;
}

/** The environment in which commands reach the server. */
export function reaching(server: Server): Env {
  return { QUORUMQ_HTTP: server.url, QUORUMQ_GRPC: `127.0.0.1:${server.ports.grpc}` };
}

/** Starts a command; its environment is empty but for PATH and `options.env`. */
export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  return follow([process.execPath, entry, ...args], options);
}

/** Runs a command to its end. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliEnd> {
  return startCli(args, options).ended;
}

/** Starts a command on a terminal of its own; what it shows is its standard output. */
export function startOnTerminal(args: readonly string[], options: CliOptions = {}): RunningCli {
  const program =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
  const env = { TERM: "xterm", ...options.env };
  const sized = ["/bin/sh", "-c", 'stty rows 40 cols 200; exec "$@"', "sh"];
  const command = ["python3", "-c", program, ...sized, process.execPath, entry, ...args];
  return follow(command, { ...options, env });
}

function follow(command: readonly string[], options: CliOptions): RunningCli {
  const [file = "", ...args] = command;
  const child = spawn(file, args, {
    env: { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => undefined); // it may end without reading
  if (options.stdin !== undefined) child.stdin.end(options.stdin);
  else if (file !== "python3") child.stdin.end();
  const output = { stdout: "", stderr: "" };
  const waiting: (() => void)[] = [];
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
      for (const look of waiting) look();
    });
  }
  const watchdog = setTimeout(() => child.kill("SIGKILL"), patienceMs);
  const ended = once(child, "close").then(([code, signal]): CliEnd => {
    clearTimeout(watchdog);
    for (const look of waiting) look();
    return { code: (code ?? signal) as number | string, ...output };
  });
  const until = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (`${output.stdout}${output.stderr}`.includes(text)) resolve();
      };
      waiting.push(look);
      look();
      void ended.then(() =>
        reject(new Error(`ended without "${text}": ${JSON.stringify(output)}`)),
      );
    });
  return { child, output, ended, until };
}
