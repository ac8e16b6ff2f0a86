/**
 * One task by one command: the payload on its standard input, its exit code decides.
 *
 *   0    completed; standard output is the result, as JSON if it is that, else as text
 *   100  failed for good (--fail-code chooses another)
 *   else tried again by the backoff policy while attempts are left
 *
 * The command runs in a process group of its own, so that all it started ends with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { limits } from "../../base/limits.ts";
import { FailTask } from "../../client/errors.ts";
import type { TaskContext, WorkerTask } from "../../client/worker-task.ts";
import type { Session } from "../session.ts";

export interface ExecOptions {
  readonly command: string;
  readonly failCode: number;
  /** Ms that the command may take; Infinity = as long as it likes. */
  readonly timeoutMs: number;
  /** Whether standard output is the task's result. */
  readonly keepsResult: boolean;
}

/** Between SIGTERM and SIGKILL. */
const killAfterMs = 5000;
const resultBytesMax = limits.resultBytes;
/** Of standard error, kept for the reason of a failed attempt. */
const reasonChars = 500;

/**
 * Runs the command to its end.
 * @returns the result; undefined = none
 * @throws FailTask, Error: the attempt failed
 */
export async function execTask(
  session: Session,
  options: ExecOptions,
  { task, signal }: { readonly task: WorkerTask; readonly signal: TaskContext["signal"] },
): Promise<Uint8Array | undefined> {
  const child = spawn("/bin/sh", ["-c", options.command], {
    detached: true,
    env: { ...session.terminal.env, ...environmentOf(task) },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const stop = createStopper(session, child);
  const timer =
    options.timeoutMs === Number.POSITIVE_INFINITY
      ? null
      : session.effects.timers.after(options.timeoutMs, () =>
          stop(`over ${options.timeoutMs / 1000} s`),
        );
  const onAbort = (): void => stop("stopped");
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  // a command that reads nothing closes the pipe: its own business
  child.stdin.on("error", () => undefined);
  child.stdin.end(task.payload);
  const output = collect(child, session, options);
  try {
    const end = await endOf(child);
    if (stop.reason !== null) throw new Error(`command ${stop.reason}`);
    if (end.code === 0) return output.result();
    const reason = output.lastError() || `exit ${end.code ?? end.signal}`;
    if (end.code === options.failCode) throw new FailTask(reason);
    throw new Error(`exit ${end.code ?? end.signal}: ${reason}`);
  } finally {
    timer?.cancel();
    stop.over();
    signal.removeEventListener("abort", onAbort);
  }
}

function environmentOf(task: WorkerTask): Record<string, string> {
  return {
    QUORUMQ_TASK_ID: task.id,
    QUORUMQ_TASK_QUEUE: task.queue,
    QUORUMQ_TASK_ATTEMPT: String(task.attempt),
    QUORUMQ_TASK_MAX_ATTEMPTS: String(task.maxAttempts),
    QUORUMQ_TASK_LEASE_TOKEN: String(task.leaseToken),
    ...(task.traceParent !== "" && { TRACEPARENT: task.traceParent }),
    ...(task.traceState !== "" && { TRACESTATE: task.traceState }),
  };
}

interface Stopper {
  /** Ends the command's process group, gently first. */
  (reason: string): void;
  /** Why it was ended; null = it was not. */
  reason: string | null;
  /** The command has ended. */
  over(): void;
}

function createStopper(session: Session, child: ChildProcess): Stopper {
  let killer: { cancel(): void } | null = null;
  const stop = ((reason: string) => {
    if (stop.reason !== null) return;
    stop.reason = reason;
    killGroup(child, "SIGTERM");
    killer = session.effects.timers.after(killAfterMs, () => killGroup(child, "SIGKILL"));
  }) as Stopper;
  stop.reason = null;
  stop.over = () => killer?.cancel();
  return stop;
}

function killGroup(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // it has ended by itself meanwhile
  }
}

function endOf(
  child: ChildProcess,
): Promise<{ readonly code: number | null; readonly signal: string | null }> {
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
}

interface Collected {
  result(): Uint8Array | undefined;
  /** The last line that it wrote to standard error; "" = none. */
  lastError(): string;
}

function collect(child: ChildProcess, session: Session, options: ExecOptions): Collected {
  const { terminal } = session;
  const chunks: Buffer[] = [];
  let size = 0;
  let tail = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (options.keepsResult && size <= resultBytesMax) chunks.push(chunk);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    terminal.stderr.write(chunk);
    tail = (tail + chunk.toString("utf8")).slice(-2 * reasonChars);
  });
  return {
    result: () => {
      if (!options.keepsResult || size === 0) return undefined;
      if (size > resultBytesMax) {
        throw new FailTask(`the result has ${size} bytes, at most ${resultBytesMax} are kept`);
      }
      return resultOf(Buffer.concat(chunks));
    },
    lastError: () => tail.trimEnd().split("\n").at(-1)?.slice(-reasonChars) ?? "",
  };
}

/** JSON as it is; other text as a JSON string; bytes that are no text as they are. */
function resultOf(bytes: Buffer): Uint8Array | undefined {
  const text = bytes.toString("utf8").trim();
  if (text === "") return undefined;
  try {
    JSON.parse(text);
    return Buffer.from(text);
  } catch {
    const isText = Buffer.from(text).equals(Buffer.from(bytes.toString("utf8").trim()));
    return isText && !text.includes("\ufffd") ? Buffer.from(JSON.stringify(text)) : bytes;
  }
}
