/**
 * One stream kept alive: connects, says hello, and connects again elsewhere when it is lost.
 *
 * | state    | meaning                                 | moves to                              |
 * | idle     | nothing wanted yet, or refused          | greeting by `connect`                 |
 * | greeting | stream opened, hello sent, no hello_ack | open, waiting (lost), idle (refused)  |
 * | open     | frames may be written                   | waiting (lost, moved), idle (refused) |
 * | waiting  | back-off before the next endpoint       | greeting                              |
 * | closed   | by `close`, for good                    |                                       |
 */
import type { ServerErrorEvent, WireCluster, WireNode } from "../api/proto-events.ts";
import type { TimerHandle } from "../base/effects.ts";
import type { LeaderHint } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { backoffMs } from "./backoff.ts";
import type { Endpoints } from "./endpoints.ts";
import { type ClientErrorCode, QuorumQError } from "./errors.ts";
import type { OpenStream, ServerEvent, StreamOpener } from "./grpc-stream.ts";
import type { ClientLogger } from "./logger.ts";
import type { ClientEffects } from "./system.ts";

export interface SessionDeps {
  readonly effects: ClientEffects;
  readonly endpoints: Endpoints;
  readonly open: StreamOpener;
  /** The encoded hello. */
  readonly hello: Buffer;
  readonly logger: ClientLogger;
}

export interface SessionEvents {
  /** A new stream is up; nothing that was sent before will be answered. */
  opened(cluster: WireCluster): void;
  /** What the nodes are and lead: after `opened`, and when it changes. */
  cluster(nodes: readonly WireNode[]): void;
  /** Anything but hello_ack, cluster and error. */
  event(event: ServerEvent): void;
  /** The stream is gone; another one will come. */
  lost(error: QuorumQError): void;
  /** The server will never take this client: `connect` tries again. */
  refused(error: QuorumQError): void;
}

export interface Session {
  readonly isOpen: boolean;
  /** Starts connecting when idle; else does nothing. */
  connect(): void;
  /** Sends a frame; only while open. */
  write(frame: Buffer): void;
  /** The stream does what it is there for: when it is lost, the next one comes soon. */
  worked(): void;
  /** Gives the stream up and goes on at the leader, if it is known, or the next endpoint. */
  move(reason: QuorumQError): void;
  /** Ends the stream; no event comes after it. `done` is called when the connection is gone. */
  close(done: () => void): void;
}

type State =
  | { readonly kind: "idle" }
  | { readonly kind: "greeting"; readonly stream: OpenStream; readonly timer: TimerHandle }
  | { readonly kind: "open"; readonly stream: OpenStream; readonly sinceMs: number }
  | { readonly kind: "waiting"; readonly timer: TimerHandle }
  | { readonly kind: "closed" };

/** Codes with which a server ends a stream that another try would not change. */
const refusals: ReadonlySet<ClientErrorCode> = new Set<ClientErrorCode>([
  "unauthenticated",
  "permission_denied",
  "invalid_argument",
  "method_not_allowed",
]);

export function createSession(deps: SessionDeps, events: SessionEvents): Session {
  return new StreamSession(deps, events);
}

class StreamSession implements Session {
  private readonly deps: SessionDeps;
  private readonly events: SessionEvents;
  private state: State = { kind: "idle" };
  /** Streams lost in a row, none of which did anything or lived long. */
  private losses = 0;
  /** Called when the stream that `close` ends is gone. */
  private closed: (() => void) | null = null;

  constructor(deps: SessionDeps, events: SessionEvents) {
    this.deps = deps;
    this.events = events;
  }

  get isOpen(): boolean {
    return this.state.kind === "open";
  }

  connect(): void {
    if (this.state.kind === "idle") this.greet();
  }

  write(frame: Buffer): void {
    if (this.state.kind === "open") this.state.stream.write(frame);
  }

  worked(): void {
    if (this.state.kind === "open") this.losses = 0;
  }

  move(reason: QuorumQError): void {
    if (this.state.kind !== "open") return;
    const { stream, sinceMs } = this.state;
    const isLeaderKnown = this.preferLeader(reason.leader);
    stream.destroy();
    this.wait(sinceMs, isLeaderKnown);
    this.deps.logger.debug({ code: reason.code }, `going elsewhere: ${reason.message}`);
    this.events.lost(reason);
  }

  close(done: () => void): void {
    const { state } = this;
    this.state = { kind: "closed" };
    if (state.kind === "waiting" || state.kind === "greeting") state.timer.cancel();
    if (state.kind === "greeting") state.stream.destroy();
    if (state.kind !== "open") {
      done();
      return;
    }
    const linger = this.deps.effects.timers.after(limits.clientLingerMs, () => {
      state.stream.destroy();
      this.closed?.();
    });
    this.closed = () => {
      this.closed = null;
      linger.cancel();
      done();
    };
    state.stream.end();
  }

  private greet(): void {
    const { effects, endpoints, open, hello } = this.deps;
    const endpoint = endpoints.next();
    const late = new QuorumQError("timeout", `${endpoint}: no answer to hello`);
    const stream = open(endpoint, {
      event: (event) => this.receive(event),
      ended: (error) => this.ended(error),
    });
    const timer = effects.timers.after(limits.clientHelloMs, () => {
      stream.destroy();
      this.ended(late);
    });
    this.state = { kind: "greeting", stream, timer };
    stream.write(hello);
  }

  private receive(event: ServerEvent): void {
    switch (event.kind) {
      case "hello_ack":
        this.greeted(event);
        return;
      case "cluster":
        this.learn(event.nodes);
        this.events.cluster(event.nodes);
        return;
      case "error":
        this.told(event);
        return;
      case "unset":
        return;
      default:
        if (this.state.kind === "open") this.events.event(event);
    }
  }

  private greeted(cluster: WireCluster): void {
    if (this.state.kind !== "greeting") return;
    const { stream, timer } = this.state;
    timer.cancel();
    this.state = { kind: "open", stream, sinceMs: this.deps.effects.clock.monotonicMs() };
    this.learn(cluster.nodes);
    this.deps.logger.debug({ nodeId: cluster.nodeId }, "connected");
    this.events.opened(cluster);
    this.events.cluster(cluster.nodes);
  }

  /**
   * A node that leads nothing keeps the stream of who follows leaders, and answers no Ready on it:
   * to stay would be to wait for ever. After any other error the stream goes on, or ends with a
   * status of its own.
   */
  private told({ code, message, leader }: ServerErrorEvent): void {
    if (code === "ErrNotLeader") this.move(new QuorumQError("not_leader", message, { leader }));
    else if (code === "NoLeader") this.move(new QuorumQError("no_leader", message));
    else this.preferLeader(leader);
  }

  private learn(nodes: readonly WireNode[]): void {
    this.deps.endpoints.learn(nodes.map((node) => node.grpcAddr));
  }

  /** @returns whether it is known where the leader is */
  private preferLeader(leader: LeaderHint | undefined): boolean {
    return leader !== undefined && this.deps.endpoints.prefer(leader.leaderGrpc);
  }

  private ended(error: QuorumQError): void {
    const { state } = this;
    if (state.kind === "closed") {
      this.closed?.();
      return;
    }
    if (state.kind === "greeting") state.timer.cancel();
    if (refusals.has(error.code)) {
      this.state = { kind: "idle" };
      this.deps.logger.error({ code: error.code }, `refused: ${error.message}`);
      this.events.refused(error);
      return;
    }
    this.wait(state.kind === "open" ? state.sinceMs : Number.POSITIVE_INFINITY);
    this.deps.logger.warn({ code: error.code }, `connection lost: ${error.message}`);
    this.events.lost(error);
  }

  /**
   * @param openSinceMs - when the lost stream was opened; infinite if it never was
   * @param isLeaderKnown - the next endpoint is the leader's: the first time without a pause
   */
  private wait(openSinceMs: number, isLeaderKnown = false): void {
    const { clock, timers, random } = this.deps.effects;
    if (clock.monotonicMs() - openSinceMs >= limits.clientSteadyMs) this.losses = 0;
    // Every known endpoint gets its try before the wait grows.
    const round = Math.floor(this.losses / this.deps.endpoints.count);
    const delayMs = isLeaderKnown && this.losses === 0 ? 0 : backoffMs(round, random);
    this.losses++;
    const timer = timers.after(delayMs, () => this.greet());
    this.state = { kind: "waiting", timer };
  }
}
