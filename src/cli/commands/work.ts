/**
 * `quorumq work`: a command for each task.
 *
 * SIGTERM: no new tasks, what runs may end (`--grace`), exit 0. SIGINT, or a second signal: the
 * commands are ended, their tasks handed back at once, exit 130.
 */
import { limits } from "../../base/limits.ts";
import { FailTask, type QuorumQError } from "../../client/errors.ts";
import { createWorker } from "../../client/worker.ts";
import type { Worker } from "../../client/worker-options.ts";
import type { TaskContext, WorkerTask } from "../../client/worker-task.ts";
import { parseCount, parseQueue, parseSeconds } from "../connection.ts";
import { cliExitCodes, usageError } from "../exit-codes.ts";
import type { Session } from "../session.ts";
import { printable } from "../terminal.ts";
import { type ExecOptions, execTask } from "./exec-task.ts";

export interface WorkFlags {
  readonly exec?: string;
  readonly concurrency?: string;
  readonly lease?: string;
  readonly timeLimit?: string;
  readonly grace?: string;
  readonly tasks?: string;
  readonly idle?: string;
  readonly workerId?: string;
  readonly failCode?: string;
  /** False by --no-result. */
  readonly result?: boolean;
}

interface Plan {
  readonly exec: ExecOptions;
  readonly queues: readonly string[];
  readonly concurrency: number;
  readonly leaseSeconds: number;
  readonly graceSeconds: number;
  /** Tasks to take at most, Infinity = no end. */
  readonly tasksMax: number;
  /** Ms without a task after which it ends, Infinity = never. */
  readonly idleMs: number;
  readonly workerId: string | undefined;
}

const daySeconds = 86_400;

/** @returns the exit code */
export async function runWork(
  session: Session,
  queues: readonly string[],
  flags: WorkFlags,
): Promise<number> {
  const plan = planOf(queues, flags);
  const { grpc, token } = await session.connection();
  const run = new WorkRun(session, plan);
  const { workerId } = plan;
  const worker = createWorker(
    { endpoints: grpc, token, effects: session.effects },
    {
      ...(plan.queues.length > 0 && { queues: plan.queues }),
      ...(workerId !== undefined && { workerId }),
      concurrency: plan.concurrency,
      leaseSeconds: plan.leaseSeconds,
      handler: (task, context) => run.handle(task, context),
      onError: (error, taskId) => run.tell(error, taskId),
    },
  );
  return run.untilEnd(worker);
}

function planOf(queues: readonly string[], flags: WorkFlags): Plan {
  if (flags.exec === undefined || flags.exec.trim() === "") {
    throw usageError("--exec: missing; the command to run for each task");
  }
  const seconds = (name: string, text: string | undefined, orElse: number, least = 0): number =>
    text === undefined ? orElse : parseSeconds(name, text, { least, most: daySeconds });
  const count = (name: string, text: string | undefined, orElse: number, most: number): number =>
    text === undefined ? orElse : parseCount(name, text, { least: 1, most });
  const failCode = flags.failCode ?? "100";
  return {
    exec: {
      command: flags.exec,
      failCode: parseCount("--fail-code", failCode, { least: 1, most: 255 }),
      timeoutMs: seconds("--time-limit", flags.timeLimit, Number.POSITIVE_INFINITY, 0.1) * 1000,
      keepsResult: flags.result !== false,
    },
    queues: queues.map(parseQueue),
    concurrency: count("--concurrency", flags.concurrency, 1, 2000),
    leaseSeconds: count("--lease", flags.lease, 60, limits.leaseSecondsMax),
    graceSeconds: seconds("--grace", flags.grace, 30),
    tasksMax: count("--tasks", flags.tasks, Number.POSITIVE_INFINITY, 1e12),
    idleMs: seconds("--idle", flags.idle, Number.POSITIVE_INFINITY, 0.1) * 1000,
    workerId: flags.workerId,
  };
}

/** Why the worker ends: enough done, or a signal. */
type Ending = "done" | "SIGINT" | "SIGTERM";

class WorkRun {
  private readonly session: Session;
  private readonly plan: Plan;
  private readonly ended: Promise<Ending>;
  private end: (ending: Ending) => void = () => undefined;
  private running = 0;
  private taken = 0;
  private idleTimer: { cancel(): void } | null = null;

  constructor(session: Session, plan: Plan) {
    this.session = session;
    this.plan = plan;
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  /** Starts the worker and waits until it is to end, then ends it. */
  async untilEnd(worker: Worker): Promise<number> {
    const { terminal } = this.session;
    terminal.onSignal((signal) => this.end(signal));
    const interrupted = new Promise<"interrupted">((resolve) => {
      void this.ended.then((ending) => {
        if (ending === "SIGINT") resolve("interrupted");
        else terminal.onSignal(() => resolve("interrupted"));
      });
    });
    await this.start(worker);
    this.watchIdle();
    const ending = await this.ended;
    this.idleTimer?.cancel();
    if (ending === "SIGTERM" && this.running > 0 && !this.session.output.isJson) {
      const { graceSeconds } = this.plan;
      terminal.note(
        `${this.running} commands may end within ${graceSeconds} s; a second signal ends them`,
      );
    }
    const gentle = worker
      .stop({ graceSeconds: this.plan.graceSeconds })
      .then(() => "ended" as const);
    if ((await Promise.race([gentle, interrupted])) === "ended") return cliExitCodes.ok;
    // what runs is handed back now, and its command ended: its signal fires
    await worker.stop({ graceSeconds: 0 });
    return cliExitCodes.interrupted;
  }

  /** @throws QuorumQError timeout: nobody there; unauthenticated … */
  private async start(worker: Worker): Promise<void> {
    try {
      await this.session.withinTimeout(Promise.race([worker.start(), this.ended]));
    } catch (error) {
      await worker.stop({ graceSeconds: 0 });
      throw error;
    }
  }

  async handle(task: WorkerTask, context: TaskContext): Promise<unknown> {
    const { exec, tasksMax } = this.plan;
    const { clock } = this.session.effects;
    this.running++;
    this.taken++;
    this.idleTimer?.cancel();
    if (this.taken >= tasksMax) this.end("done");
    const fromMs = clock.monotonicMs();
    try {
      const result = await execTask(this.session, exec, { task, signal: context.signal });
      this.report(task, { event: "completed", ms: clock.monotonicMs() - fromMs });
      return result;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const event = error instanceof FailTask ? "failed" : "retry";
      this.report(task, { event, ms: clock.monotonicMs() - fromMs, reason });
      throw error;
    } finally {
      this.running--;
      this.watchIdle();
    }
  }

  /** A lost connection, or a settlement that was refused. */
  tell(error: QuorumQError, taskId: string | undefined): void {
    const { output, terminal } = this.session;
    if (output.isJson) {
      output.line({ event: "error", id: taskId, code: error.code, error: error.message });
    } else {
      const about = taskId === undefined ? "" : `${taskId}: `;
      terminal.note(`quorumq: ${about}${printable(error.message)} (${error.code})`);
    }
  }

  private watchIdle(): void {
    const { idleMs } = this.plan;
    if (this.running > 0 || idleMs === Number.POSITIVE_INFINITY) return;
    this.idleTimer?.cancel();
    this.idleTimer = this.session.effects.timers.after(idleMs, () => this.end("done"));
  }

  private report(
    task: WorkerTask,
    what: { readonly event: string; readonly ms: number; readonly reason?: string },
  ): void {
    const { output, terminal } = this.session;
    const { event, reason } = what;
    const ms = Math.round(what.ms);
    const { id, queue, attempt } = task;
    if (output.isJson) output.line({ event, id, queue, attempt, ms, reason });
    else {
      const why = reason === undefined ? "" : `: ${printable(reason)}`;
      terminal.note(`${id} ${queue} ${event} after ${ms} ms (attempt ${attempt})${why}`);
    }
  }
}
