/**
 * The producer of the SDK: Promises per call, frames underneath.
 *
 * What is enqueued in one turn of the event loop, or while the window of frames is full, goes into
 * the next frame: no timer, no delay of its own.
 */
import type { CreateAcks } from "../api/received-ack-coder.ts";
import type { TimerHandle } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { type ConnectOptions, resolveConnect } from "./connect.ts";
import {
  type CallEnd,
  CreateCall,
  type EnqueueOutcome,
  type FrameInWork,
  type Part,
  type Segment,
  WaitingParts,
} from "./create-call.ts";
import type { FrameOutcome } from "./create-frame.ts";
import { type EnqueueItem, encodeValue, type TaskOptions } from "./create-input.ts";
import { type Emits, Emitter } from "./emitter.ts";
import { enqueueStream } from "./enqueue-stream.ts";
import { errorOfAck, QuorumQError } from "./errors.ts";
import type { ConnectionEvents } from "./events.ts";
import { createProducerStream, type ProducerStream } from "./producer-stream.ts";
import type { ClientEffects } from "./system.ts";
import type { AnyTasks, QueueOf } from "./task-map.ts";

export interface ProducerOptions {
  /** Frames in flight, 1..1024; default 32. */
  readonly window?: number;
  /** Ms that a call may take, retries included; default 30,000. */
  readonly timeoutMs?: number;
}

export interface EnqueueOptions extends TaskOptions {
  /** Ms for this call; default the producer's. */
  readonly timeoutMs?: number;
}

/** A created task. */
export interface Enqueued {
  readonly id: string;
  /** The idempotency key's task existed already, with the same request. */
  readonly duplicate: boolean;
}

/** @typeParam Tasks - payload type by queue; by default any queue takes any payload */
export interface Producer<Tasks extends object = AnyTasks> extends Emits<ConnectionEvents> {
  /**
   * Creates a task. Resolves once it is durable.
   * @param payload - a Uint8Array is kept byte for byte; anything else as JSON
   * @throws QuorumQError with the server's code, or `timeout` (it did not happen),
   * `unknown_outcome` (it may have), `overloaded` (too much waits here), `closed`
   */
  enqueue<Queue extends QueueOf<Tasks>>(
    queue: Queue,
    payload: Tasks[Queue],
    options?: EnqueueOptions,
  ): Promise<Enqueued>;
  /**
   * Creates many tasks of one queue, in order. One outcome per payload: a refused one does not
   * touch the others. Fails as a whole only as `enqueue` does by itself.
   */
  enqueueMany<Queue extends QueueOf<Tasks>>(
    queue: Queue,
    payloads: readonly Tasks[Queue][],
    options?: Omit<EnqueueOptions, "idempotencyKey">,
  ): Promise<readonly EnqueueOutcome[]>;
  /** Creates tasks of any queues with options of their own; see `enqueueMany`. */
  enqueueBatch(
    items: readonly EnqueueItem<Tasks>[],
    options?: { readonly timeoutMs?: number },
  ): Promise<readonly EnqueueOutcome[]>;
  /**
   * Creates the tasks of a source of any length, in its order: it is read only as fast as tasks
   * become durable, with at most 4096 of them under way. Outcomes come in order, and have to be
   * taken: reading stops where nobody takes them. Leaving early lets go of the source; what is
   * under way is created all the same.
   * @throws what the source throws; QuorumQError closed, unauthenticated: after the outcomes of all
   * that was read. Any other error of a call is the outcome of its task.
   *
   * @example
   * for await (const outcome of producer.enqueueStream(rows)) {
   *   if (outcome.kind === "refused") console.error(outcome.error.code);
   * }
   */
  enqueueStream(
    items: Iterable<EnqueueItem<Tasks>> | AsyncIterable<EnqueueItem<Tasks>>,
    options?: { readonly timeoutMs?: number },
  ): AsyncIterable<EnqueueOutcome>;
  /**
   * Resolves when so little waits here that the next call is not refused as `overloaded`: at once,
   * unless tasks are enqueued faster than the server takes them.
   * @throws QuorumQError closed
   */
  ready(): Promise<void>;
  /** Takes no more, waits for the calls under way, then disconnects. */
  close(): Promise<void>;
}

/**
 * Creates a producer; it connects with the first call.
 *
 * @example
 * const producer = createProducer({ endpoints: "127.0.0.1:9092", token: process.env.TOKEN });
 * const { id } = await producer.enqueue("mail", { to: "a@b.c" }, { priority: 5 });
 * await producer.enqueueMany("thumbnails", images.map((image) => ({ image })));
 * await producer.close();
 */
export function createProducer<Tasks extends object = AnyTasks>(
  connect: ConnectOptions,
  options: ProducerOptions = {},
): Producer<Tasks> {
  return new StreamProducer(connect, options);
}

const defaultTimeoutMs = 30_000;

class StreamProducer extends Emitter<ConnectionEvents> implements Producer {
  private readonly effects: ClientEffects;
  private readonly stream: ProducerStream;
  private readonly timeoutMs: number;
  private readonly calls = new Set<CreateCall>();
  private readonly waiting = new WaitingParts();
  private isPumpDue = false;
  /** Fires at the earliest deadline, or before it; one for all calls. */
  private deadline: { readonly atMs: number; readonly timer: TimerHandle } | null = null;
  private closing: { readonly promise: Promise<void>; readonly idle: () => void } | null = null;

  /** Those that wait for room. */
  private roomWaiters: { readonly resolve: () => void; readonly reject: (e: unknown) => void }[] =
    [];

  constructor(connect: ConnectOptions, options: ProducerOptions) {
    super();
    const { effects, wire } = resolveConnect(connect);
    this.effects = effects;
    this.timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    const { window } = options;
    this.stream = createProducerStream({
      ...connect,
      effects,
      wire,
      events: {
        opened: ({ nodeId }) => this.emit("connected", { nodeId }),
        cluster: (nodes) => this.emit("cluster", { nodes }),
        lost: (error) => this.emit("disconnected", { error }),
      },
      ...(window === undefined ? {} : { window }),
    });
  }

  async enqueue(queue: string, payload: unknown, options: EnqueueOptions = {}): Promise<Enqueued> {
    const encoded = this.stream.encodeOptions(queue, options);
    const part = { options: encoded, payloads: [encodeValue(payload)], place: 0 };
    const [outcome] = await this.call([part], 1, options.timeoutMs);
    if (outcome?.kind === "created") return { id: outcome.id, duplicate: outcome.duplicate };
    throw outcome?.error ?? new QuorumQError("internal", "no outcome");
  }

  async enqueueMany(
    queue: string,
    payloads: readonly unknown[],
    options: Omit<EnqueueOptions, "idempotencyKey"> = {},
  ): Promise<readonly EnqueueOutcome[]> {
    const encoded = this.stream.encodeOptions(queue, options);
    const part = { options: encoded, payloads: payloads.map(encodeValue), place: 0 };
    return this.call([part], payloads.length, options.timeoutMs);
  }

  async enqueueBatch(
    items: readonly EnqueueItem[],
    options: { readonly timeoutMs?: number } = {},
  ): Promise<readonly EnqueueOutcome[]> {
    const parts = items.map((item, place) => ({
      options: this.stream.encodeOptions(item.queue, item),
      payloads: [encodeValue(item.payload)],
      place,
    }));
    return this.call(parts, items.length, options.timeoutMs);
  }

  enqueueStream(
    items: Iterable<EnqueueItem> | AsyncIterable<EnqueueItem>,
    options: { readonly timeoutMs?: number } = {},
  ): AsyncIterable<EnqueueOutcome> {
    return enqueueStream(items, {
      ready: () => this.ready(),
      create: async (item) => {
        const [outcome] = await this.enqueueBatch([item], options);
        return outcome ?? { kind: "refused", error: new QuorumQError("internal", "no outcome") };
      },
    });
  }

  ready(): Promise<void> {
    if (this.closing !== null) return Promise.reject(closed());
    if (this.hasRoom()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.roomWaiters.push({ resolve, reject });
    });
  }

  close(): Promise<void> {
    if (this.closing !== null) return this.closing.promise;
    for (const { reject } of this.roomWaiters.splice(0)) reject(closed());
    let idle = (): void => undefined;
    const settled = new Promise<void>((resolve) => {
      idle = resolve;
    });
    const promise = settled.then(async () => {
      this.deadline?.timer.cancel();
      await this.stream.close();
    });
    this.closing = { promise, idle };
    if (this.calls.size === 0) idle();
    return promise;
  }

  private call(
    parts: readonly Pick<Part, "options" | "payloads" | "place">[],
    count: number,
    timeoutMs: number | undefined,
  ): Promise<readonly EnqueueOutcome[]> {
    if (this.closing !== null) throw closed();
    if (count === 0) return Promise.resolve([]);
    const { waiting } = this;
    const isFull = waiting.tasks > 0 && waiting.tasks + count > limits.clientWaitingTasks;
    if (isFull || waiting.bytes > limits.clientWaitingBytes) {
      throw new QuorumQError("overloaded", `${waiting.tasks} tasks wait in this producer`);
    }
    return new Promise((resolve, reject) => {
      const end = (result: CallEnd): void => {
        if (result.kind === "answered") resolve(result.outcomes);
        else reject(result.error);
      };
      const deadlineMs = this.effects.clock.monotonicMs() + (timeoutMs ?? this.timeoutMs);
      const call = new CreateCall(count, deadlineMs, end);
      this.calls.add(call);
      for (const part of parts) waiting.add({ ...part, call, taken: 0 });
      this.watchDeadline(deadlineMs);
      this.schedulePump();
    });
  }

  /** Later in this turn, so that all that is enqueued in it shares frames. */
  private schedulePump(): void {
    if (this.isPumpDue) return;
    this.isPumpDue = true;
    this.effects.timers.soon(() => {
      this.isPumpDue = false;
      this.pump();
    });
  }

  private pump(): void {
    while (this.stream.hasRoom) {
      const frame = this.waiting.take();
      if (frame === null) break;
      this.sendFrame(frame);
    }
    if (this.roomWaiters.length === 0 || !this.hasRoom()) return;
    // Some at a time: what they enqueue counts only after their turn.
    for (const { resolve } of this.roomWaiters.splice(0, limits.runTasks)) resolve();
    if (this.roomWaiters.length > 0) this.schedulePump();
  }

  /** Half of the bound, so that those who were waiting can all come. */
  private hasRoom(): boolean {
    const { tasks, bytes } = this.waiting;
    return tasks < limits.clientWaitingTasks / 2 && bytes < limits.clientWaitingBytes / 2;
  }

  private sendFrame(frame: FrameInWork): void {
    try {
      frame.sent = this.stream.send(frame.segments, (outcome) => this.answered(frame, outcome));
    } catch (error) {
      if (!(error instanceof QuorumQError)) throw error;
      this.refuseFrame(frame, error);
    }
  }

  private answered(frame: FrameInWork, outcome: FrameOutcome): void {
    switch (outcome.kind) {
      case "acked":
        this.acked(frame, outcome.acks.decode());
        break;
      case "failed":
        this.refuseFrame(frame, outcome.error);
        break;
      case "refused":
        for (const call of [...this.calls]) this.failCall(call, outcome.error);
        break;
    }
    this.schedulePump();
  }

  private acked(frame: FrameInWork, acks: CreateAcks): void {
    let at = 0;
    for (const segment of frame.segments) {
      for (let i = 0; i < segment.count; i++) {
        this.settle(segment, i, outcomeOf(acks, at++, frame.isKeyed));
      }
      segment.part.call.frames.delete(frame);
    }
  }

  private refuseFrame(frame: FrameInWork, error: QuorumQError): void {
    for (const segment of frame.segments) {
      for (let i = 0; i < segment.count; i++) this.settle(segment, i, { kind: "refused", error });
      segment.part.call.frames.delete(frame);
    }
  }

  private settle({ part, from }: Segment, i: number, outcome: EnqueueOutcome): void {
    if (part.call.isOver) return;
    if (part.call.settle(part.place + from + i, outcome)) this.forgetCall(part.call);
  }

  private failCall(call: CreateCall, error: QuorumQError): void {
    call.fail(error);
    this.waiting.release(call);
    for (const frame of call.frames) {
      if (frame.segments.every(({ part }) => part.call.isOver)) frame.sent?.forget();
    }
    this.forgetCall(call);
  }

  private forgetCall(call: CreateCall): void {
    this.calls.delete(call);
    if (this.calls.size === 0) this.closing?.idle();
  }

  private watchDeadline(atMs: number): void {
    if (this.deadline !== null && this.deadline.atMs <= atMs) return;
    this.deadline?.timer.cancel();
    const delay = atMs - this.effects.clock.monotonicMs();
    this.deadline = { atMs, timer: this.effects.timers.after(delay, () => this.expire()) };
  }

  /** Ends the calls whose time is up, and watches the earliest of the others. */
  private expire(): void {
    this.deadline = null;
    const nowMs = this.effects.clock.monotonicMs();
    let earliest = Number.POSITIVE_INFINITY;
    let isStalled = false;
    for (const call of [...this.calls]) {
      if (call.deadlineMs > nowMs) {
        earliest = Math.min(earliest, call.deadlineMs);
        continue;
      }
      const longAgo = nowMs - limits.clientAckMs;
      isStalled ||= [...call.frames].some(
        ({ sent }) => (sent?.unansweredSinceMs ?? nowMs) < longAgo,
      );
      this.failCall(call, timeoutOf(call));
    }
    if (earliest < Number.POSITIVE_INFINITY) this.watchDeadline(earliest);
    // A stream that owes an answer for so long is taken for dead: the others' frames go again.
    if (isStalled) this.stream.restart(new QuorumQError("timeout", "no ack within a call's time"));
    this.schedulePump();
  }
}

function closed(): QuorumQError {
  return new QuorumQError("closed", "the producer is closed");
}

function outcomeOf(acks: CreateAcks, at: number, isKeyed: boolean): EnqueueOutcome {
  const failure = acks.failures[at];
  if (failure !== undefined) return { kind: "refused", error: errorOfAck(failure) };
  // Without a key of the user's, only the SDK's own first try can have made the task.
  const duplicate = isKeyed && acks.duplicates[at] === 1;
  return { kind: "created", id: acks.taskIds[at] ?? "", duplicate };
}

function timeoutOf(call: CreateCall): QuorumQError {
  const unknown = new QuorumQError("unknown_outcome", "no answer in time: it may have happened");
  if (call.isBegun) return unknown;
  let cause: QuorumQError | undefined;
  for (const { sent } of call.frames) {
    if (sent?.mayHaveHappened) return unknown;
    cause ??= sent?.refusal ?? undefined;
  }
  return new QuorumQError("timeout", "not done in time", { cause });
}
