/**
 * The raw producer stream: frames of creates out, ack frames in, one callback per frame and no
 * Promise. It owns what makes a create safe: the run id of each frame, the window, and sending
 * again, the same bytes, whatever was not acknowledged when a stream was lost.
 *
 * A frame is `waiting` (for a stream, or after a retryable refusal) or `sent` on the open stream; it
 * leaves by its ack, by `forget`, when the server refuses this client, or by `close`.
 */
import { type CreateInput, encodeCreateBatch } from "../api/create-coder.ts";
import type { WireCluster } from "../api/proto-events.ts";
import type { CreateAcks } from "../api/received-ack-coder.ts";
import type { TimerHandle } from "../base/effects.ts";
import { errorCodes } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import {
  createRunKeySource,
  type RunKeySource,
  runKeyBytes,
  taskIdBytes,
  writeTaskId,
} from "../base/task-id.ts";
import { backoffMs } from "./backoff.ts";
import { type Connection, type ConnectOptions, resolveConnect } from "./connect.ts";
import { errorOfAck, isErrorCode, QuorumQError } from "./errors.ts";
import { createGrpcOpener, type ServerEvent } from "./grpc-stream.ts";
import { createSession, type Session } from "./session.ts";

export type { CreateAcks, CreateInput };

export type FrameOutcome =
  | {
      /** Every task has its final ack; those in `failures` were refused. */
      readonly kind: "acked";
      readonly acks: CreateAcks;
      /** The frame went out more than once: `duplicates` may mean its own first try. */
      readonly isResent: boolean;
    }
  /** This frame can not be sent: too large, or answered in a wrong form. */
  | { readonly kind: "failed"; readonly error: QuorumQError }
  /** The server does not take this client: the token, or a server of another kind. */
  | { readonly kind: "refused"; readonly error: QuorumQError };

export interface ProducerStreamOptions extends ConnectOptions {
  /** Frames sent and not acknowledged, 1..1024; default `limits.clientWindowFrames`. */
  readonly window?: number;
}

/** What the tasks of `sendBatch` have in common. */
export interface BatchOptions {
  /** 0..9 */
  readonly priority?: number;
  /** 1..1000 */
  readonly maxAttempts?: number;
}

/** A frame on its way. */
export interface SentFrame {
  /** Whether some of its tasks may exist by now. */
  readonly mayHaveHappened: boolean;
  /** Why it waits for another try, if it does: null = not sent yet, or not answered. */
  readonly refusal: QuorumQError | null;
  /** Since when it waits for its ack on the present stream (monotonic ms); infinite if it does not. */
  readonly unansweredSinceMs: number;
  /** Nobody waits for it any more: it is not sent again, and `done` is not called. */
  forget(): void;
}

export interface ProducerStream {
  /** Whether the window takes another frame. */
  readonly hasRoom: boolean;
  /** Frames not acknowledged. */
  readonly inFlight: number;
  /** First of `count` numbers for `CreateInput.seq` that this stream has not used. */
  takeSeqs(count: number): number;
  /**
   * Sends tasks as one frame: either up to 256 of one queue and priority without keys, or up to
   * 1,000 with a key each. Seqs from `takeSeqs`. Payloads must not change until the ack.
   * @param done - once, later; not after `forget` or `close`
   * @throws QuorumQError invalid_argument for another form, payload_too_large, overloaded
   * without room, closed
   */
  send(tasks: readonly CreateInput[], done: (outcome: FrameOutcome) => void): SentFrame;
  /** `send` for up to 256 payloads of one queue. */
  sendBatch(
    queue: string,
    payloads: readonly Uint8Array[],
    options: BatchOptions,
    done: (outcome: FrameOutcome) => void,
  ): SentFrame;
  /** Gives the stream up and sends everything again on the next one. */
  restart(reason: QuorumQError): void;
  /** Ends the stream at once; frames in flight are forgotten. Resolves when it is gone. */
  close(): Promise<void>;
}

/**
 * Opens a raw stream; it connects with the first frame.
 *
 * @example
 * const stream = createProducerStream({ endpoints: "127.0.0.1:9092" });
 * stream.sendBatch("mail", payloads, {}, (outcome) => { if (outcome.kind === "acked") next(); });
 */
export function createProducerStream(options: ProducerStreamOptions): ProducerStream {
  return new RawProducerStream(resolveConnect(options), options.window);
}

class Frame implements SentFrame {
  readonly tasks: readonly CreateInput[];
  readonly payloadBytes: number;
  readonly done: (outcome: FrameOutcome) => void;
  /** null for tasks with keys: the keys make them safe to repeat. */
  readonly runKey: Uint8Array | null;
  private readonly owner: RawProducerStream;
  /** Made when it is first sent, since only HelloAck tells the number of shards. */
  buffer: Buffer | null = null;
  sends = 0;
  refusal: QuorumQError | null = null;
  /** A try of it was lost without an answer, or answered in part. */
  isUncertain = false;
  unansweredSinceMs = Number.POSITIVE_INFINITY;

  constructor(
    owner: RawProducerStream,
    tasks: readonly CreateInput[],
    runKey: Uint8Array | null,
    done: (outcome: FrameOutcome) => void,
  ) {
    this.owner = owner;
    this.tasks = tasks;
    this.runKey = runKey;
    this.done = done;
    let bytes = 0;
    for (const task of tasks) bytes += task.payload.length;
    this.payloadBytes = bytes;
  }

  get seq(): number {
    return (this.tasks[0] as CreateInput).seq;
  }

  get mayHaveHappened(): boolean {
    return this.isUncertain || this.isUnanswered;
  }

  get isUnanswered(): boolean {
    return this.unansweredSinceMs < Number.POSITIVE_INFINITY;
  }

  forget(): void {
    this.owner.drop(this);
  }
}

class RawProducerStream implements ProducerStream {
  private readonly connection: Connection;
  private readonly session: Session;
  private readonly window: number;
  private readonly runKeys: RunKeySource;
  /** By first seq, in the order of sending. */
  private readonly frames = new Map<number, Frame>();
  private bytesInFlight = 0;
  private nextSeq = 1;
  private cluster: WireCluster = { nodeId: "", shards: 1, nodes: [] };
  private shardsLed: readonly number[] = [];
  private turn = 0;
  private retryTimer: TimerHandle | null = null;
  private isClosed = false;

  constructor(connection: Connection, window: number | undefined) {
    this.connection = connection;
    this.window = Math.min(Math.max(window ?? limits.clientWindowFrames, 1), 1024);
    const random = new Uint8Array(6);
    connection.effects.random.fill(random);
    this.runKeys = createRunKeySource(random);
    const { wire, token, effects, endpoints } = connection;
    const hello = wire.encodeProducerHello({ token, followLeader: true });
    const open = createGrpcOpener(wire.producer);
    this.session = createSession(
      { effects, endpoints, open, hello },
      {
        opened: (cluster) => this.opened(cluster),
        event: (event) => this.receive(event),
        lost: () => this.lost(),
        refused: (error) => this.failAll(error),
      },
    );
  }

  get hasRoom(): boolean {
    return this.frames.size < this.window && this.bytesInFlight < limits.clientWindowBytes;
  }

  get inFlight(): number {
    return this.frames.size;
  }

  takeSeqs(count: number): number {
    const first = this.nextSeq;
    this.nextSeq += count;
    return first;
  }

  send(tasks: readonly CreateInput[], done: (outcome: FrameOutcome) => void): SentFrame {
    if (this.isClosed) throw new QuorumQError("closed", "the producer is closed");
    if (!this.hasRoom) throw new QuorumQError("overloaded", "the window of frames is full");
    const isRun = checkForm(tasks);
    const frame = new Frame(this, tasks, isRun ? this.nextRunKey() : null, done);
    if (frame.payloadBytes > limits.grpcMessageBytes) {
      throw new QuorumQError("payload_too_large", `payload: ${frame.payloadBytes} bytes`);
    }
    this.frames.set(frame.seq, frame);
    this.bytesInFlight += frame.payloadBytes;
    if (this.session.isOpen) this.transmit(frame);
    else this.session.connect();
    return frame;
  }

  sendBatch(
    queue: string,
    payloads: readonly Uint8Array[],
    options: BatchOptions,
    done: (outcome: FrameOutcome) => void,
  ): SentFrame {
    let seq = this.takeSeqs(payloads.length);
    const tasks = payloads.map((payload) => ({ seq: seq++, queue, payload, ...options }));
    return this.send(tasks, done);
  }

  restart(reason: QuorumQError): void {
    this.session.move(reason);
  }

  close(): Promise<void> {
    this.isClosed = true;
    this.stopRetryTimer();
    this.frames.clear();
    this.bytesInFlight = 0;
    return new Promise((resolve) => {
      this.session.close(resolve);
    });
  }

  drop(frame: Frame): void {
    if (this.frames.get(frame.seq) !== frame) return;
    this.frames.delete(frame.seq);
    this.bytesInFlight -= frame.payloadBytes;
  }

  private nextRunKey(): Uint8Array {
    const key = new Uint8Array(runKeyBytes);
    this.runKeys.next(this.connection.effects.clock.wallMs(), key, 0);
    return key;
  }

  private opened(cluster: WireCluster): void {
    this.cluster = cluster;
    const node = cluster.nodes.find((candidate) => candidate.id === cluster.nodeId);
    this.shardsLed = node?.shardsLed ?? [];
    for (const frame of this.frames.values()) this.transmit(frame);
  }

  private transmit(frame: Frame): void {
    if (frame.buffer === null) {
      const runId = frame.runKey === null ? null : this.runId(frame.runKey);
      frame.buffer = encodeCreateBatch(frame.tasks, runId);
      if (frame.buffer.length > limits.grpcMessageBytes) {
        const text = `payload: the frame has ${frame.buffer.length} bytes`;
        const error = new QuorumQError("payload_too_large", text);
        this.drop(frame);
        this.connection.effects.timers.soon(() => frame.done({ kind: "failed", error }));
        return;
      }
    }
    frame.sends++;
    frame.refusal = null;
    frame.unansweredSinceMs = this.connection.effects.clock.monotonicMs();
    this.session.write(frame.buffer);
  }

  /** The run's first id, in a shard that this node leads if it leads any: that saves a hop. */
  private runId(key: Uint8Array): Uint8Array {
    const shards = Math.max(this.cluster.shards, 1);
    const { shardsLed } = this;
    const turn = this.turn++;
    const shard = shardsLed.length > 0 ? shardsLed[turn % shardsLed.length] : turn % shards;
    const id = new Uint8Array(taskIdBytes);
    writeTaskId(key, 0, (shard ?? 0) % shards, shards, id);
    return id;
  }

  private receive(event: ServerEvent): void {
    if (event.kind !== "create_ack_batch") return;
    const frame = this.frames.get(event.seqs[0] ?? 0);
    if (frame === undefined) return;
    if (event.count !== frame.tasks.length) {
      const text = `${event.count} acks for a frame of ${frame.tasks.length} tasks`;
      this.finish(frame, { kind: "failed", error: new QuorumQError("internal", text) });
      return;
    }
    frame.unansweredSinceMs = Number.POSITIVE_INFINITY;
    frame.refusal = retryableRefusal(event, frame.sends);
    if (frame.refusal === null) {
      this.finish(frame, { kind: "acked", acks: event, isResent: frame.sends > 1 });
    } else {
      if (leavesDoubt(event, frame.refusal)) frame.isUncertain = true;
      this.retry(frame.refusal);
    }
  }

  /** Sends what was refused for now again: elsewhere if that helps, else after a while. */
  private retry(refusal: QuorumQError): void {
    if (refusal.code === "not_leader" || refusal.code === "draining") {
      this.session.move(refusal);
      return;
    }
    if (this.retryTimer !== null) return;
    const { timers, random } = this.connection.effects;
    let round = Number.POSITIVE_INFINITY;
    for (const { refusal: why, sends } of this.frames.values()) {
      if (why !== null) round = Math.min(round, sends - 1);
    }
    this.retryTimer = timers.after(backoffMs(round, random), () => {
      this.retryTimer = null;
      for (const frame of this.frames.values()) if (frame.refusal !== null) this.transmit(frame);
    });
  }

  private lost(): void {
    this.stopRetryTimer();
    for (const frame of this.frames.values()) {
      if (frame.isUnanswered) frame.isUncertain = true;
      frame.unansweredSinceMs = Number.POSITIVE_INFINITY;
    }
  }

  private stopRetryTimer(): void {
    this.retryTimer?.cancel();
    this.retryTimer = null;
  }

  private finish(frame: Frame, outcome: FrameOutcome): void {
    this.drop(frame);
    frame.done(outcome);
  }

  private failAll(error: QuorumQError): void {
    this.stopRetryTimer();
    for (const frame of [...this.frames.values()]) this.finish(frame, { kind: "refused", error });
  }
}

/** @returns whether the tasks form a run; else each has a key. @throws QuorumQError */
function checkForm(tasks: readonly CreateInput[]): boolean {
  const [first] = tasks;
  if (first === undefined) throw new QuorumQError("invalid_argument", "a frame needs a task");
  const isRun = first.idempotencyKey === undefined;
  const most = isRun ? limits.runTasks : limits.batchItems;
  if (tasks.length > most) {
    throw new QuorumQError("invalid_argument", `tasks: ${tasks.length}, at most ${most}`);
  }
  for (const task of tasks) {
    const isSame = task.queue === first.queue && task.priority === first.priority;
    if ((task.idempotencyKey === undefined) !== isRun || (isRun && !isSame)) {
      const text = "tasks: keys on all, or one queue and priority and no key";
      throw new QuorumQError("invalid_argument", text);
    }
  }
  return isRun;
}

/**
 * The reason to send the frame again, or null when its acks are final. The whole frame goes again:
 * what was created answers as before.
 */
function retryableRefusal(acks: CreateAcks, sends: number): QuorumQError | null {
  for (const failure of acks.failures) {
    if (failure === undefined || !isErrorCode(failure.code)) continue;
    // A full disk is for the caller to know, though it may pass.
    if (failure.code === "insufficient_storage") continue;
    const { retry } = errorCodes[failure.code];
    if (retry === "never" || (retry === "once" && sends > 1)) continue;
    return errorOfAck(failure);
  }
  return null;
}

/** Whether some task of the refused frame may exist all the same. */
function leavesDoubt(acks: CreateAcks, refusal: QuorumQError): boolean {
  if (acks.failures.some((failure) => failure === undefined)) return true;
  return ["unknown_outcome", "timeout", "internal"].includes(refusal.code);
}
