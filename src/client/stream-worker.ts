/**
 * The worker behind `createWorker`: claims tasks, runs the handler for each, settles them and tells
 * of it. One Ready is out at a time, for as many tasks as there are free places.
 */
import type { SettleAcks } from "../api/received-ack-coder.ts";
import type { TimerHandle } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { type ConnectOptions, resolveConnect } from "./connect.ts";
import { Emitter } from "./emitter.ts";
import { QuorumQError } from "./errors.ts";
import type { WorkerEvents } from "./events.ts";
import { HeldTask } from "./held-task.ts";
import { LeaseKeeper, leaseLost } from "./lease-keeper.ts";
import type { ClientLogger } from "./logger.ts";
import { type SettleEnd, Settler } from "./settler.ts";
import type { ClientEffects } from "./system.ts";
import type { Worker, WorkerOptions } from "./worker-options.ts";
import { createWorkerStream, type TaskFrame, type WorkerStream } from "./worker-stream.ts";
import { completionOf, type Settlement, settlementOfError } from "./worker-task.ts";

const defaultGraceSeconds = 30;

export class StreamWorker extends Emitter<WorkerEvents> implements Worker {
  private readonly options: WorkerOptions;
  private readonly effects: ClientEffects;
  private readonly logger: ClientLogger;
  private readonly stream: WorkerStream;
  private readonly settler: Settler;
  private readonly leases: LeaseKeeper;
  private readonly concurrency: number;
  private readonly capacity: number;
  private readonly batch: number;
  private readonly leaseMs: number;
  /** Tasks waiting or running, by id. */
  private readonly live = new Map<string, HeldTask>();
  private waiting: HeldTask[] = [];
  private running = 0;
  private isReadyOut = false;
  private isAskDue = false;
  private drainTimer: TimerHandle | null = null;
  /** Nothing came since `drained` was told. */
  private isDrained = false;
  private reconnectTimer: TimerHandle | null = null;
  private starting: { resolve: () => void; reject: (error: QuorumQError) => void } | null = null;
  private started: Promise<void> | null = null;
  private stopping: { readonly promise: Promise<void>; readonly idle: () => void } | null = null;
  /** When the running handlers' time is up, once the worker stops. */
  private grace: { readonly atMs: number; readonly timer: TimerHandle } | null = null;

  constructor(connect: ConnectOptions, options: WorkerOptions) {
    super();
    const { effects, wire, logger } = resolveConnect(connect);
    this.options = options;
    this.effects = effects;
    this.logger = logger;
    this.concurrency = inRange("concurrency", options.concurrency ?? 10, [1, 2000]);
    this.capacity = this.concurrency + inRange("prefetch", options.prefetch ?? 0, [0, 1000]);
    this.batch = inRange("batch", options.batch ?? 100, [1, limits.claimTasks]);
    const lease = [limits.leaseSecondsMin, limits.leaseSecondsMax] as const;
    const leaseSeconds = inRange("leaseSeconds", options.leaseSeconds ?? 300, lease);
    this.leaseMs = leaseSeconds * 1000;
    this.stream = this.openStream({ ...connect, effects, wire, logger }, leaseSeconds);
    this.settler = new Settler(effects, this.stream, {
      over: (held, end) => this.settled(held, end),
    });
    const { stream, settler, live, leaseMs } = this;
    const lose = (held: HeldTask, reason: QuorumQError): void => this.lose(held, reason);
    this.leases = new LeaseKeeper({ effects, stream, settler, live, leaseMs, lose });
  }

  start(): Promise<void> {
    if (this.stopping !== null) {
      return Promise.reject(new QuorumQError("closed", "the worker was stopped"));
    }
    this.started ??= new Promise((resolve, reject) => {
      this.starting = { resolve, reject };
      this.stream.connect();
    });
    return this.started;
  }

  stop(options: { readonly graceSeconds?: number } = {}): Promise<void> {
    this.limitGrace((options.graceSeconds ?? defaultGraceSeconds) * 1000);
    if (this.stopping !== null) return this.stopping.promise;
    let idle = (): void => undefined;
    const settled = new Promise<void>((resolve) => {
      idle = resolve;
    });
    const promise = settled.then(() => this.close());
    this.stopping = { promise, idle };
    this.stopDrained();
    this.starting?.reject(new QuorumQError("closed", "the worker was stopped"));
    this.starting = null;
    for (const held of this.waiting.splice(0)) this.settle(held, { kind: "abandon" });
    this.maybeIdle();
    return promise;
  }

  private openStream(connect: ConnectOptions, leaseSeconds: number): WorkerStream {
    const { queues, workerId } = this.options;
    return createWorkerStream(
      {
        ...connect,
        leaseSeconds,
        ...(queues === undefined ? {} : { queues }),
        ...(workerId === undefined ? {} : { workerId }),
      },
      {
        opened: ({ nodeId }) => this.opened(nodeId),
        cluster: (nodes) => this.emit("cluster", { nodes }),
        tasks: (tasks) => this.take(tasks),
        resultAcks: (acks) => this.settler.acked(acks.decode()),
        ack: (ack) => this.acked(ack),
        canceled: (taskId, leaseToken) => this.canceled(taskId, leaseToken),
        lost: (error) => this.lost(error),
        refused: (error) => this.refused(error),
      },
    );
  }

  private limitGrace(graceMs: number): void {
    const atMs = this.effects.clock.monotonicMs() + graceMs;
    if (this.grace !== null && this.grace.atMs <= atMs) return;
    this.grace?.timer.cancel();
    this.grace = { atMs, timer: this.effects.timers.after(graceMs, () => this.endGrace()) };
  }

  /** The running handlers' time is up: their tasks go to other workers. */
  private endGrace(): void {
    const reason = new QuorumQError("closed", "the worker stops");
    for (const held of [...this.live.values()]) {
      held.abort(reason);
      this.settle(held, { kind: "abandon" });
    }
    this.maybeIdle();
    // The server hands back what is left when the stream ends: no ack is waited for without end.
    const timer = this.effects.timers.after(limits.clientAckMs, () => this.stopping?.idle());
    void this.stopping?.promise.then(() => timer.cancel());
  }

  private async close(): Promise<void> {
    this.grace?.timer.cancel();
    this.leases.stop();
    this.reconnectTimer?.cancel();
    this.settler.stop();
    await this.stream.close();
    this.emit("stopped", {});
  }

  private maybeIdle(): void {
    if (this.live.size === 0 && this.settler.size === 0) this.stopping?.idle();
  }

  private opened(nodeId: string): void {
    this.starting?.resolve();
    this.starting = null;
    this.isReadyOut = false;
    this.settler.opened();
    this.leases.opened();
    this.scheduleAsk();
    this.emit("connected", { nodeId });
  }

  private lost(error: QuorumQError): void {
    this.isReadyOut = false;
    this.stopDrained();
    this.leases.lost();
    this.emit("disconnected", { error });
    // That another node leads is how a cluster works.
    if (error.code !== "not_leader") this.report(error, undefined);
  }

  private refused(error: QuorumQError): void {
    this.isReadyOut = false;
    if (this.starting !== null) {
      this.starting.reject(error);
      this.starting = null;
      this.started = null;
      return;
    }
    this.report(error, undefined);
    // It worked once: tokens may be on their way to a node.
    this.reconnectTimer = this.effects.timers.after(limits.clientBackoffMsMax, () => {
      this.stream.connect();
    });
  }

  private take(tasks: TaskFrame): void {
    this.isReadyOut = false;
    this.isDrained = false;
    this.stopDrained();
    const nowMs = this.effects.clock.monotonicMs();
    const isTold = this.has("claimed");
    for (let i = 0; i < tasks.count; i++) {
      const task = tasks.task(i);
      const known = this.live.get(task.id);
      if (known !== undefined) this.lose(known, leaseLost());
      const held = new HeldTask(task, nowMs, this.leaseMs);
      this.live.set(task.id, held);
      if (this.stopping === null) this.waiting.push(held);
      else this.settle(held, { kind: "abandon" });
      if (isTold) this.emit("claimed", { task: held.workerTask });
    }
    this.leases.taken();
    this.runWaiting();
    this.scheduleAsk();
  }

  private runWaiting(): void {
    while (this.running < this.concurrency) {
      const held = this.waiting.shift();
      if (held === undefined) return;
      held.state = "running";
      held.startedMs = this.effects.clock.monotonicMs();
      this.running++;
      void this.run(held);
    }
  }

  /** Never rejects: whatever the handler throws is the task's end. */
  private async run(held: HeldTask): Promise<void> {
    const beat = (extendMs: number | undefined): void => this.leases.extend(held, extendMs);
    const context = held.context(beat, this.logger);
    if (this.has("started")) this.emit("started", { task: held.workerTask });
    let settlement: Settlement;
    try {
      held.outcome = await this.options.handler(held.workerTask, context);
      settlement = completionOf(held.outcome);
    } catch (error) {
      held.outcome = error;
      settlement = settlementOfError(error);
    }
    this.running--;
    // A task that was lost, canceled or handed back meanwhile is not ours to settle.
    if (held.state === "running") this.settle(held, settlement);
    this.runWaiting();
    this.scheduleAsk();
  }

  private settle(held: HeldTask, settlement: Settlement): void {
    this.live.delete(held.task.id);
    held.settlement = settlement;
    this.settler.add(held);
  }

  private settled(held: HeldTask, end: SettleEnd): void {
    this.scheduleAsk();
    this.watchDrained();
    this.maybeIdle();
    if (end.error === null) this.tell(held, end);
    else {
      this.emit("lost", { task: held.workerTask, error: end.error });
      this.report(end.error, held.task.id);
    }
  }

  /** Tells how a task ended. */
  private tell(held: HeldTask, { delayMs, isDead }: SettleEnd): void {
    const kind = held.settlement?.kind;
    const isTold = kind !== "abandon" && held.startedMs > 0;
    const durationMs = isTold ? this.effects.clock.monotonicMs() - held.startedMs : 0;
    const { outcome } = held;
    switch (kind) {
      case "complete":
        if (!this.has("completed")) return;
        this.emit("completed", { task: held.workerTask, result: outcome, durationMs });
        return;
      case "fail":
        this.emit("failed", { task: held.workerTask, error: outcome, durationMs });
        return;
      case "nack": {
        const end = { task: held.workerTask, error: outcome, durationMs };
        if (isDead) this.emit("dead", end);
        else this.emit("retried", { ...end, delayMs });
        return;
      }
      default:
        this.emit("abandoned", { task: held.workerTask });
    }
  }

  private report(error: QuorumQError, taskId: string | undefined): void {
    if (taskId !== undefined) {
      this.logger.warn({ taskId, code: error.code }, `end of task refused: ${error.message}`);
    }
    this.options.onError?.(error, taskId);
    this.emit("error", { error, taskId });
  }

  /** After this turn, so that places that come free together are asked for together. */
  private scheduleAsk(): void {
    if (this.isAskDue || this.isReadyOut || this.stopping !== null) return;
    this.isAskDue = true;
    this.effects.timers.soon(() => {
      this.isAskDue = false;
      this.ask();
    });
  }

  private ask(): void {
    if (this.isReadyOut || this.stopping !== null || !this.stream.isOpen) return;
    // A handler whose task was lost still works: it keeps its place.
    const free = this.capacity - this.waiting.length - this.running;
    const room = limits.clientHeldTasks - this.settler.size - this.live.size;
    const count = Math.min(free, this.batch, room);
    if (count <= 0) return;
    this.isReadyOut = true;
    this.stream.ready(count);
    this.watchDrained();
  }

  /** Tells after a while that there is no work, if none comes until then. */
  private watchDrained(): void {
    const isIdle = this.isReadyOut && this.running + this.live.size + this.settler.size === 0;
    if (this.isDrained || !isIdle || this.stopping !== null) return;
    this.drainTimer ??= this.effects.timers.after(limits.clientDrainedMs, () => {
      this.drainTimer = null;
      this.isDrained = true;
      this.emit("drained", {});
    });
  }

  /** Something came, or may have been missed. */
  private stopDrained(): void {
    this.drainTimer?.cancel();
    this.drainTimer = null;
  }

  private acked(acks: SettleAcks): void {
    if (acks.kind === "heartbeat_ack") this.leases.acked(acks);
    else this.settler.acked(acks);
  }

  private canceled(taskId: string, leaseToken: number): void {
    const held = this.live.get(taskId);
    if (held === undefined || held.task.leaseToken !== leaseToken) return;
    this.lose(held, new QuorumQError("canceled", "the task was canceled"));
  }

  /** The task is not ours any more. */
  private lose(held: HeldTask, reason: QuorumQError): void {
    if (held.state === "waiting") this.waiting = this.waiting.filter((other) => other !== held);
    held.state = "over";
    this.live.delete(held.task.id);
    held.abort(reason);
    this.scheduleAsk();
    this.watchDrained();
    this.maybeIdle();
    const task = held.workerTask;
    if (reason.code === "canceled") this.emit("canceled", { task });
    else this.emit("lost", { task, error: reason });
  }
}

function inRange(name: string, value: number, [least, most]: readonly [number, number]): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new QuorumQError("invalid_argument", `${name}: an integer, ${least}..${most}`);
}
