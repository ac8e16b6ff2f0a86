/**
 * The worker of the SDK: claims tasks, runs the handler for each, keeps leases alive and settles.
 *
 * One Ready is out at a time, for as many tasks as there are free places; leases are renewed at a
 * third of their length by one timer for all tasks.
 */
import type { SettleAcks } from "../api/received-ack-coder.ts";
import type { TimerHandle } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { type ConnectOptions, resolveConnect } from "./connect.ts";
import { errorOfAck, QuorumQError } from "./errors.ts";
import { HeldTask } from "./held-task.ts";
import { Settler } from "./settler.ts";
import type { ClientEffects } from "./system.ts";
import type { AnyTasks, QueueOf } from "./task-map.ts";
import { createWorkerStream, type TaskFrame, type WorkerStream } from "./worker-stream.ts";
import {
  type Settlement,
  settlementOfError,
  settlementOfValue,
  type TaskHandler,
  toWorkerTask,
} from "./worker-task.ts";

/** @typeParam Tasks - payload type by queue; by default any payload of any queue */
export interface WorkerOptions<Tasks extends object = AnyTasks> {
  /** Queues to take from; absent = all that the token allows. */
  readonly queues?: readonly QueueOf<Tasks>[];
  readonly handler: TaskHandler<Tasks>;
  /** Handlers that run at the same time, 1..2000; default 10. */
  readonly concurrency?: number;
  /** Tasks fetched ahead of a free handler, 0..1000; default 0. Their leases are kept alive too. */
  readonly prefetch?: number;
  /** Tasks in one claim at most, 1..1000; default 100. */
  readonly batch?: number;
  /** Length of a lease, 1..86,400; default 300. */
  readonly leaseSeconds?: number;
  /** At most 128 characters; default the token's subject. */
  readonly workerId?: string;
  /**
   * Told of what goes wrong beside the handlers: a lost connection, a settlement that was refused
   * (the task is then redelivered or was settled by someone else). Must not throw.
   */
  readonly onError?: (error: QuorumQError, taskId: string | undefined) => void;
}

export interface Worker {
  /**
   * Connects and begins to claim. Resolves with the first connection.
   * @throws QuorumQError unauthenticated, permission_denied …: the server does not take this worker
   */
  start(): Promise<void>;
  /**
   * Claims no more, hands back what no handler has begun, gives running handlers their time, then
   * fires their signals and hands back the rest. Resolves when all of it is acknowledged and the
   * connection is closed. Called again it can only shorten the time.
   */
  stop(options?: { readonly graceSeconds?: number }): Promise<void>;
}

/**
 * Creates a worker.
 *
 * @example
 * const worker = createWorker(
 *   { endpoints: "127.0.0.1:9092", token: process.env.TOKEN },
 *   {
 *     queues: ["mail"],
 *     concurrency: 20,
 *     handler: async (task, { signal }) => {
 *       await send(task.json(), { signal });
 *       return { sent: true };
 *     },
 *   },
 * );
 * await worker.start();
 * process.once("SIGTERM", () => worker.stop({ graceSeconds: 20 }));
 */
export function createWorker<Tasks extends object = AnyTasks>(
  connect: ConnectOptions,
  options: WorkerOptions<Tasks>,
): Worker {
  // A task comes as it was enqueued: its type is the application's word.
  return new StreamWorker(connect, { ...options, handler: options.handler as TaskHandler });
}

const defaultGraceSeconds = 30;

class StreamWorker implements Worker {
  private readonly options: WorkerOptions;
  private readonly effects: ClientEffects;
  private readonly stream: WorkerStream;
  private readonly settler: Settler;
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
  private leaseTimer: TimerHandle | null = null;
  private reconnectTimer: TimerHandle | null = null;
  private starting: { resolve: () => void; reject: (error: QuorumQError) => void } | null = null;
  private started: Promise<void> | null = null;
  private stopping: { readonly promise: Promise<void>; readonly idle: () => void } | null = null;
  /** When the running handlers' time is up, once the worker stops. */
  private grace: { readonly atMs: number; readonly timer: TimerHandle } | null = null;

  constructor(connect: ConnectOptions, options: WorkerOptions) {
    const { effects, wire } = resolveConnect(connect);
    this.options = options;
    this.effects = effects;
    this.concurrency = inRange("concurrency", options.concurrency ?? 10, [1, 2000]);
    this.capacity = this.concurrency + inRange("prefetch", options.prefetch ?? 0, [0, 1000]);
    this.batch = inRange("batch", options.batch ?? 100, [1, limits.claimTasks]);
    const lease = [limits.leaseSecondsMin, limits.leaseSecondsMax] as const;
    const leaseSeconds = inRange("leaseSeconds", options.leaseSeconds ?? 300, lease);
    this.leaseMs = leaseSeconds * 1000;
    const { queues, workerId } = options;
    this.stream = createWorkerStream(
      {
        ...connect,
        effects,
        wire,
        leaseSeconds,
        ...(queues === undefined ? {} : { queues }),
        ...(workerId === undefined ? {} : { workerId }),
      },
      {
        opened: () => this.opened(),
        tasks: (tasks) => this.take(tasks),
        resultAcks: (acks) => this.settler.acked(acks.decode()),
        ack: (ack) => this.acked(ack),
        canceled: (taskId, leaseToken) => this.canceled(taskId, leaseToken),
        lost: (error) => this.lost(error),
        refused: (error) => this.refused(error),
      },
    );
    this.settler = new Settler(effects, this.stream, {
      over: (held, error) => this.settled(held, error),
    });
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
    this.starting?.reject(new QuorumQError("closed", "the worker was stopped"));
    this.starting = null;
    for (const held of this.waiting.splice(0)) this.settle(held, { kind: "abandon" });
    this.maybeIdle();
    return promise;
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
    this.leaseTimer?.cancel();
    this.reconnectTimer?.cancel();
    this.settler.stop();
    await this.stream.close();
  }

  private maybeIdle(): void {
    if (this.live.size === 0 && this.settler.size === 0) this.stopping?.idle();
  }

  private opened(): void {
    this.starting?.resolve();
    this.starting = null;
    this.isReadyOut = false;
    this.settler.opened();
    // Whether the leases outlived the old stream only the server knows.
    for (const held of this.live.values()) this.beat(held, undefined);
    this.scheduleAsk();
  }

  private lost(error: QuorumQError): void {
    this.isReadyOut = false;
    for (const held of this.live.values()) held.nextLeaseEndsMs = 0;
    this.options.onError?.(error, undefined);
  }

  private refused(error: QuorumQError): void {
    this.isReadyOut = false;
    if (this.starting !== null) {
      this.starting.reject(error);
      this.starting = null;
      this.started = null;
      return;
    }
    this.options.onError?.(error, undefined);
    // It worked once: tokens may be on their way to a node.
    this.reconnectTimer = this.effects.timers.after(limits.clientBackoffMsMax, () => {
      this.stream.connect();
    });
  }

  private take(tasks: TaskFrame): void {
    this.isReadyOut = false;
    const nowMs = this.effects.clock.monotonicMs();
    for (let i = 0; i < tasks.count; i++) {
      const task = tasks.task(i);
      const known = this.live.get(task.id);
      if (known !== undefined) this.lose(known, leaseLost());
      const held = new HeldTask(task, nowMs, this.leaseMs);
      this.live.set(task.id, held);
      if (this.stopping === null) this.waiting.push(held);
      else this.settle(held, { kind: "abandon" });
    }
    // Later than all that is watched already, since every lease has the same length.
    if (this.leaseTimer === null) this.watchLeases();
    this.runWaiting();
    this.scheduleAsk();
  }

  private runWaiting(): void {
    while (this.running < this.concurrency) {
      const held = this.waiting.shift();
      if (held === undefined) return;
      held.state = "running";
      this.running++;
      void this.run(held);
    }
  }

  /** Never rejects: whatever the handler throws is the task's end. */
  private async run(held: HeldTask): Promise<void> {
    const context = held.context((extendMs) => {
      this.beat(held, extendMs);
      this.watchLeases();
    });
    let settlement: Settlement;
    try {
      settlement = settlementOfValue(await this.options.handler(toWorkerTask(held.task), context));
    } catch (error) {
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

  private settled(held: HeldTask, error: QuorumQError | null): void {
    if (error !== null) this.options.onError?.(error, held.task.id);
    this.scheduleAsk();
    this.maybeIdle();
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
  }

  private acked(acks: SettleAcks): void {
    if (acks.kind !== "heartbeat_ack") {
      this.settler.acked(acks);
      return;
    }
    const held = this.live.get(acks.taskIds[0] ?? "");
    const failure = acks.failures[0];
    if (held === undefined) return;
    if (failure === undefined) {
      held.renewed();
      return;
    }
    const error = errorOfAck(failure);
    if (error.code === "lease_lost" || error.code === "not_found") {
      this.lose(held, leaseLost(error));
    } else if (error.code === "not_leader" || error.code === "draining") {
      this.stream.move(error);
    } else {
      held.renewAtMs = this.effects.clock.monotonicMs() + this.leaseMs / 12;
      this.watchLeases();
    }
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
    this.maybeIdle();
  }

  private beat(held: HeldTask, extendMs: number | undefined): void {
    const nowMs = this.effects.clock.monotonicMs();
    const lengthMs = extendMs ?? this.leaseMs;
    held.renewAtMs = nowMs + lengthMs / 3;
    if (!this.stream.isOpen) return;
    held.nextLeaseEndsMs = nowMs + lengthMs;
    const extendSeconds = extendMs === undefined ? 0 : Math.ceil(extendMs / 1000);
    this.stream.heartbeat(held.task, { extendSeconds });
  }

  /** Sets the one timer for all leases to the earliest time at which one needs something. */
  private watchLeases(): void {
    this.leaseTimer?.cancel();
    this.leaseTimer = null;
    let dueMs = this.settler.size > 0 ? this.effects.clock.monotonicMs() + this.leaseMs : Infinity;
    for (const held of this.live.values()) {
      dueMs = Math.min(dueMs, held.renewAtMs, held.leaseEndsMs);
    }
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const delayMs = dueMs - this.effects.clock.monotonicMs();
    this.leaseTimer = this.effects.timers.after(delayMs, () => this.renewLeases());
  }

  private renewLeases(): void {
    this.leaseTimer = null;
    const nowMs = this.effects.clock.monotonicMs();
    // Those due soon go along: one wake-up then serves all tasks of a batch.
    const soonMs = nowMs + this.leaseMs / 24;
    for (const held of [...this.live.values()]) {
      if (held.leaseEndsMs <= nowMs) this.lose(held, leaseLost());
      else if (held.renewAtMs <= soonMs) this.beat(held, undefined);
    }
    this.settler.expire(nowMs, leaseLost());
    this.watchLeases();
  }
}

function leaseLost(cause?: QuorumQError): QuorumQError {
  return new QuorumQError("lease_lost", "the lease is over", { cause });
}

function inRange(name: string, value: number, [least, most]: readonly [number, number]): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new QuorumQError("invalid_argument", `${name}: an integer, ${least}..${most}`);
}
