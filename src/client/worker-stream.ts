/**
 * The raw worker stream: Readys and settles out, tasks and acks in, no Promise. It does not keep
 * what it sends: when the stream is lost, whoever holds tasks settles them on the next one, with
 * the same lease tokens.
 */

import type { ResultAckFrame } from "../api/client-ack-frame.ts";
import { workerEventReader } from "../api/client-events.ts";
import { encodeCompletions, type TaskFrame } from "../api/client-task-frame.ts";
import type { WireCluster, WireNode } from "../api/proto-events.ts";
import { encodeReady } from "../api/ready-coder.ts";
import type { SettleAcks } from "../api/received-ack-coder.ts";
import {
  encodeAbandon,
  encodeHeartbeat,
  encodeNack,
  encodeResultBatch,
  type ResultInput,
} from "../api/settle-coder.ts";
import type { ReceivedTask } from "../api/task-coder.ts";
import { limits } from "../base/limits.ts";
import { type ConnectOptions, resolveConnect } from "./connect.ts";
import { QuorumQError } from "./errors.ts";
import { createGrpcOpener, type ServerEvent } from "./grpc-stream.ts";
import { createSession, type Session } from "./session.ts";

export type { ReceivedTask, ResultAckFrame, ResultInput, SettleAcks, TaskFrame };

export interface WorkerStreamOptions extends ConnectOptions {
  /** Queues to take from; none = all that the token allows. */
  readonly queues?: readonly string[];
  /** Length of a lease, 1..86,400; default 300. */
  readonly leaseSeconds?: number;
  /** At most 128 characters; default the token's subject. */
  readonly workerId?: string;
}

/** Called from the event loop, never inside a call to the stream. */
export interface WorkerStreamEvents {
  /** A new stream is up: Readys of before are void, tasks held may still be settled. */
  opened(cluster: WireCluster): void;
  /** What the nodes are and lead: after `opened`, and when it changes. */
  cluster?(nodes: readonly WireNode[]): void;
  /** Answers one Ready. */
  tasks(tasks: TaskFrame): void;
  /** Answers one frame of results, in its order. */
  resultAcks(acks: ResultAckFrame): void;
  /** Answers a nack, heartbeat or abandon. */
  ack(ack: SettleAcks): void;
  /** The task was canceled: its lease is over. */
  canceled(taskId: string, leaseToken: number): void;
  /** The stream is gone; another one will come. */
  lost(error: QuorumQError): void;
  /** The server does not take this client: `connect` tries again. */
  refused(error: QuorumQError): void;
}

/** A claim: what settles and heartbeats carry. */
export interface Claim {
  readonly id: string;
  readonly leaseToken: number;
}

/** What is sent while the stream is not open is dropped. */
export interface WorkerStream {
  readonly isOpen: boolean;
  connect(): void;
  /** Asks for 1..1000 tasks; answered once, when there are any. */
  ready(count: number): void;
  /** One frame of results; answered by one ack batch in the same order. */
  results(results: readonly ResultInput[]): void;
  /** Completes all tasks of a frame without results, in one frame. */
  complete(tasks: TaskFrame): void;
  /** @param options.delaySeconds - 0 = by the backoff policy; -1 = at once */
  nack(claim: Claim, options: { readonly delaySeconds: number; readonly reason: string }): void;
  /** @param options.extendSeconds - 0 = the length it was claimed with */
  heartbeat(claim: Claim, options: { readonly extendSeconds: number }): void;
  abandon(claim: Claim): void;
  /** Gives the stream up and goes on at the leader or the next endpoint. */
  move(reason: QuorumQError): void;
  /** Ends the stream; leases it holds are handed back. Resolves when it is gone. */
  close(): Promise<void>;
}

/**
 * Opens a raw stream; `connect` starts it.
 *
 * @example
 * const stream = createWorkerStream({ endpoints: "127.0.0.1:9092", queues: ["mail"] }, {
 *   opened: () => stream.ready(128),
 *   tasks(tasks) { stream.complete(tasks); stream.ready(128); },
 *   ...
 * });
 * stream.connect();
 */
export function createWorkerStream(
  options: WorkerStreamOptions,
  events: WorkerStreamEvents,
): WorkerStream {
  return new RawWorkerStream(options, events);
}

class RawWorkerStream implements WorkerStream {
  private readonly session: Session;
  private readonly events: WorkerStreamEvents;
  private readonly queues: readonly string[];
  private readonly leaseSeconds: number;

  constructor(options: WorkerStreamOptions, events: WorkerStreamEvents) {
    const { wire, token, effects, endpoints, logger } = resolveConnect(options);
    this.events = events;
    this.queues = options.queues ?? [];
    this.leaseSeconds = options.leaseSeconds ?? 0;
    checkQueues(this.queues);
    const hello = wire.encodeWorkerHello({
      token,
      workerId: options.workerId ?? "",
      followLeader: true,
      releaseOnClose: true,
    });
    const open = createGrpcOpener(wire.worker.Stream.path, workerEventReader(wire));
    this.session = createSession(
      { effects, endpoints, open, hello, logger },
      {
        opened: (cluster) => events.opened(cluster),
        cluster: (nodes) => events.cluster?.(nodes),
        event: (event) => this.receive(event),
        lost: (error) => events.lost(error),
        refused: (error) => events.refused(error),
      },
    );
  }

  get isOpen(): boolean {
    return this.session.isOpen;
  }

  connect(): void {
    this.session.connect();
  }

  ready(count: number): void {
    const { queues, leaseSeconds } = this;
    this.session.write(encodeReady({ queues, leaseSeconds, count }));
  }

  results(results: readonly ResultInput[]): void {
    this.session.write(encodeResultBatch(results));
  }

  complete(tasks: TaskFrame): void {
    this.session.write(encodeCompletions(tasks));
  }

  nack(claim: Claim, options: { readonly delaySeconds: number; readonly reason: string }): void {
    this.session.write(encodeNack(claim.id, claim.leaseToken, options));
  }

  heartbeat(claim: Claim, options: { readonly extendSeconds: number }): void {
    this.session.write(encodeHeartbeat(claim.id, claim.leaseToken, options));
  }

  abandon(claim: Claim): void {
    this.session.write(encodeAbandon(claim.id, claim.leaseToken));
  }

  move(reason: QuorumQError): void {
    this.session.move(reason);
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.session.close(resolve);
    });
  }

  private receive(event: ServerEvent): void {
    switch (event.kind) {
      case "tasks":
        this.session.worked();
        this.events.tasks(event);
        return;
      case "result_acks":
        this.events.resultAcks(event);
        return;
      case "cancel":
        this.events.canceled(event.taskId, event.leaseToken);
        return;
      case "nack_ack":
      case "heartbeat_ack":
      case "abandon_ack":
        this.events.ack(event);
        return;
      default:
      // Arms of a later version.
    }
  }
}

function checkQueues(queues: readonly string[]): void {
  if (queues.length > limits.claimQueues) {
    throw new QuorumQError("invalid_argument", `queues: at most ${limits.claimQueues}`);
  }
}
