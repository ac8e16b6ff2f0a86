/**
 * The raw producer stream: frames of creates out, ack frames in, one callback per frame and no
 * Promise. It owns what makes a create safe: the run id of each frame, the window, and sending
 * again, the same bytes, whatever was not acknowledged when a stream was lost.
 *
 * A frame waits (for a stream, or after a retryable refusal) or is unanswered on the open stream.
 * It leaves by its ack, by `forget`, when the server refuses this client, or by `close`.
 */
import { producerEventReader } from "../api/client-events.ts";
import type { WireCluster, WireNode } from "../api/proto-events.ts";
import type { TimerHandle } from "../base/effects.ts";
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
import {
  CreateFrame,
  checkForm,
  type FrameOutcome,
  isInDoubt,
  retryableRefusal,
  type SentFrame,
  type StreamPart,
} from "./create-frame.ts";
import { type EncodedOptions, encodeOptions, type TaskOptions } from "./create-input.ts";
import { QuorumQError } from "./errors.ts";
import { createGrpcOpener, type ServerEvent } from "./grpc-stream.ts";
import { nextTry } from "./retry.ts";
import { createSession, type Session } from "./session.ts";

export type { FrameOutcome, SentFrame, StreamPart };

export interface ProducerStreamOptions extends ConnectOptions {
  /** Frames sent and not acknowledged, 1..1024; default `limits.clientWindowFrames`. */
  readonly window?: number;
  readonly events?: ProducerStreamEvents;
}

/** Called from the event loop, never inside a call to the stream. */
export interface ProducerStreamEvents {
  /** A stream is up: the first one, and each after a loss. */
  opened?(cluster: WireCluster): void;
  /** What the nodes are and lead: after `opened`, and when it changes. */
  cluster?(nodes: readonly WireNode[]): void;
  /** The stream is gone; another one will come. */
  lost?(error: QuorumQError): void;
}

export interface ProducerStream {
  /** Whether the window takes another frame. */
  readonly hasRoom: boolean;
  /** Frames not acknowledged. */
  readonly inFlight: number;
  /**
   * Checks and encodes what tasks have in common: do it once, use it often.
   * @throws QuorumQError invalid_argument
   */
  encodeOptions(queue: string, options: TaskOptions): EncodedOptions;
  /**
   * Sends tasks as one frame: up to 256, either of one queue and priority without keys, or with a
   * key each. Payloads must not change until the ack.
   * @param done - once, later; not after `forget` or `close`
   * @throws QuorumQError invalid_argument for another form, payload_too_large, overloaded
   * without room, closed
   */
  send(parts: readonly StreamPart[], done: (outcome: FrameOutcome) => void): SentFrame;
  /** `send` for 1..256 payloads with the same options. */
  sendBatch(
    options: EncodedOptions,
    payloads: readonly Uint8Array[],
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
 * const options = stream.encodeOptions("mail", { priority: 5 });
 * stream.sendBatch(options, payloads, (outcome) => { if (outcome.kind === "acked") next(); });
 */
export function createProducerStream(options: ProducerStreamOptions): ProducerStream {
  return new RawProducerStream(resolveConnect(options), options);
}

class RawProducerStream implements ProducerStream {
  private readonly connection: Connection;
  private readonly session: Session;
  private readonly window: number;
  private readonly runKeys: RunKeySource;
  /** By first seq, in the order of sending. */
  private readonly frames = new Map<number, CreateFrame>();
  private bytesInFlight = 0;
  private nextSeq = 1;
  private cluster: WireCluster = { nodeId: "", shards: 1, nodes: [] };
  private shardsLed: readonly number[] = [];
  private turn = 0;
  private retryTimer: TimerHandle | null = null;
  private isClosed = false;

  constructor(connection: Connection, options: ProducerStreamOptions) {
    const { window = limits.clientWindowFrames, events } = options;
    this.connection = connection;
    this.window = Math.min(Math.max(window, 1), 1024);
    const random = new Uint8Array(6);
    connection.effects.random.fill(random);
    this.runKeys = createRunKeySource(random);
    const { wire, token, effects, endpoints, logger } = connection;
    const hello = wire.encodeProducerHello({ token, followLeader: true });
    const open = createGrpcOpener(wire.producer.Stream.path, producerEventReader(wire));
    this.session = createSession(
      { effects, endpoints, open, hello, logger },
      {
        opened: (cluster) => {
          this.opened(cluster);
          events?.opened?.(cluster);
        },
        cluster: (nodes) => {
          this.learn(nodes);
          events?.cluster?.(nodes);
        },
        event: (event) => this.receive(event),
        lost: (error) => {
          this.lost();
          events?.lost?.(error);
        },
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

  encodeOptions(queue: string, options: TaskOptions): EncodedOptions {
    return encodeOptions(queue, options, this.connection.effects.clock);
  }

  send(parts: readonly StreamPart[], done: (outcome: FrameOutcome) => void): SentFrame {
    if (this.isClosed) throw new QuorumQError("closed", "the producer is closed");
    if (!this.hasRoom) throw new QuorumQError("overloaded", "the window of frames is full");
    const runKey = checkForm(parts) ? this.nextRunKey() : null;
    const frame = new CreateFrame(
      { parts, seq: this.nextSeq, runKey },
      { done, forgotten: (gone) => this.drop(gone) },
    );
    this.nextSeq += frame.count;
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
    options: EncodedOptions,
    payloads: readonly Uint8Array[],
    done: (outcome: FrameOutcome) => void,
  ): SentFrame {
    const { fields } = options;
    return this.send([{ options, fields, payloads, from: 0, count: payloads.length }], done);
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

  private drop(frame: CreateFrame): void {
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
    this.learn(cluster.nodes);
    for (const frame of this.frames.values()) this.transmit(frame);
  }

  private learn(nodes: readonly WireNode[]): void {
    const node = nodes.find((candidate) => candidate.id === this.cluster.nodeId);
    this.shardsLed = node?.shardsLed ?? [];
  }

  private transmit(frame: CreateFrame): void {
    const buffer = frame.encode((key) => this.runId(key));
    if (buffer.length > limits.grpcMessageBytes) {
      const text = `payload: the frame has ${buffer.length} bytes`;
      const error = new QuorumQError("payload_too_large", text);
      this.drop(frame);
      this.connection.effects.timers.soon(() => frame.done({ kind: "failed", error }));
      return;
    }
    frame.sends++;
    frame.refusal = null;
    frame.unansweredSinceMs = this.connection.effects.clock.monotonicMs();
    this.session.write(buffer);
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
    if (event.kind !== "create_acks") return;
    const frame = this.frames.get(event.firstSeq);
    if (frame === undefined) return;
    if (event.count !== frame.count) {
      const text = `${event.count} acks for a frame of ${frame.count} tasks`;
      this.finish(frame, { kind: "failed", error: new QuorumQError("internal", text) });
      return;
    }
    frame.unansweredSinceMs = Number.POSITIVE_INFINITY;
    const refused = event.areAllOk ? null : event.decode();
    if (refused === null) this.session.worked();
    frame.refusal = refused === null ? null : retryableRefusal(refused, frame.sends);
    frame.refusals++;
    if (refused === null || frame.refusal === null) {
      this.finish(frame, { kind: "acked", acks: event, isResent: frame.sends > 1 });
    } else {
      if (isInDoubt(refused, frame.refusal)) frame.isUncertain = true;
      this.retry(frame, frame.refusal);
    }
  }

  /** Sends what was refused for now again: elsewhere if that helps, else after a while. */
  private retry(frame: CreateFrame, refusal: QuorumQError): void {
    const tries = frame.refusals;
    if (nextTry({ code: refusal.code, tries, isRepeatable: true }) === "elsewhere") {
      this.session.move(refusal);
      return;
    }
    if (this.retryTimer !== null) return;
    const { timers, random } = this.connection.effects;
    let round = Number.POSITIVE_INFINITY;
    for (const { refusal: why, refusals } of this.frames.values()) {
      if (why !== null) round = Math.min(round, refusals - 1);
    }
    this.retryTimer = timers.after(backoffMs(round, random), () => {
      this.retryTimer = null;
      for (const frame of this.frames.values()) if (frame.refusal !== null) this.transmit(frame);
    });
  }

  private lost(): void {
    this.stopRetryTimer();
    for (const frame of this.frames.values()) {
      frame.refusals = 0;
      if (frame.isUnanswered) frame.isUncertain = true;
      frame.unansweredSinceMs = Number.POSITIVE_INFINITY;
    }
  }

  private stopRetryTimer(): void {
    this.retryTimer?.cancel();
    this.retryTimer = null;
  }

  private finish(frame: CreateFrame, outcome: FrameOutcome): void {
    this.drop(frame);
    frame.done(outcome);
  }

  private failAll(error: QuorumQError): void {
    this.stopRetryTimer();
    for (const frame of [...this.frames.values()]) this.finish(frame, { kind: "refused", error });
  }
}
