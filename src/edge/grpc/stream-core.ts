/**
 * What producers' and workers' streams have in common: their life, their end, and flow control.
 *
 *   greeting ──Hello──► open ──end(status)──► closing ──all answered and written──► over
 *       └──────────────────────────────────────┘              (or the client is gone, at any time)
 */
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { EdgeLogs } from "../../api/bounded-log.ts";
import type { Wire } from "../../api/proto.ts";
import type { StreamName } from "../../api/proto-cold.ts";
import type { WireNode } from "../../api/proto-events.ts";
import {
  failedPreconditionName,
  grpcErrorText,
  serverErrorName,
  toQueueError,
} from "../../api/wire-errors.ts";
import type { Authenticator, Identity } from "../../auth/authenticator.ts";
import { InvariantError } from "../../base/assert.ts";
import { DecodeError } from "../../base/bytes.ts";
import type { Clock, Logger, Timers } from "../../base/effects.ts";
import { QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { Grant, Router } from "../../router/router.ts";
import type { CallFlow } from "./connection-flow.ts";
import { brokenProtocol, type EndStatus, endedWell, statusOf } from "./error-mapper.ts";
import type { CreateRules } from "./fields.ts";
import { Outbound } from "./outbound.ts";
import type { ReadGate } from "./read-gate.ts";

/** What this node tells clients of the cluster. */
export interface NodeInfo {
  readonly nodeId: string;
  /** All nodes, with their addresses and the shards they lead. */
  nodes(): readonly WireNode[];
  /** Calls back when `nodes` changed. @returns a function that ends it */
  onChange(listener: () => void): () => void;
}

/** What every stream of a server is given. */
export interface StreamDeps {
  readonly router: Router;
  readonly authenticator: Pick<Authenticator, "authenticate">;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly node: NodeInfo;
  readonly wire: Wire;
  readonly rules: CreateRules & { readonly leaseMs: number };
  /** Ms from which on a frame that waits for its answer is logged as slow. */
  readonly slowMs: number;
  readonly logs: EdgeLogs;
}

export type StreamCall<Event> = ServerDuplexStream<Event, Buffer>;

/** One call as its server made it. */
export interface StreamContext<Event> {
  readonly call: StreamCall<Event>;
  readonly gate: ReadGate;
  /** Names the stream in the log and in answers about bugs. */
  readonly requestId: string;
  /** The stream is over: nothing more is read or written. */
  onOver(): void;
  /** Cuts the connection of a client that does not read. */
  cut(): void;
}

/** The part in which the two kinds of streams differ. */
export interface StreamHandler<Event> {
  /** A message on an open stream. May throw DecodeError. */
  handle(event: Event): void;
  /** Room in the outbound queue came, or the stream reads no more. */
  flowChanged(): void;
  /** The stream is over. */
  over(): void;
}

type Phase = "greeting" | "open" | "closing" | "over";

export class StreamCore<Event extends { readonly kind: string }> {
  readonly deps: StreamDeps;
  readonly outbound: Outbound<readonly Grant[]>;
  readonly requestId: string;
  identity: Identity | null = null;
  followsLeader = false;
  private readonly flow: CallFlow;
  private phase: Phase = "greeting";
  private status: EndStatus = endedWell;
  private readonly name: StreamName;
  private readonly context: StreamContext<Event>;
  private readonly startedMs: number;
  private token: string | null = null;
  private tokenCheckedMs: number;
  private handler: StreamHandler<Event> | null = null;

  constructor(name: StreamName, deps: StreamDeps, context: StreamContext<Event>) {
    this.name = name;
    this.deps = deps;
    this.context = context;
    this.requestId = context.requestId;
    this.startedMs = deps.clock.monotonicMs();
    this.tokenCheckedMs = this.startedMs;
    const now = (): number => deps.clock.monotonicMs();
    const { flow } = context.gate;
    this.flow = flow;
    this.outbound = new Outbound(context.gate, now, {
      waits: (frames, bytes) => flow.wait(frames, bytes),
      wrote: () => this.wrote(),
    });
  }

  /**
   * Starts to listen.
   * @param greet - takes the first message; identifies the client and answers, or throws
   * @param handler - takes everything after that
   */
  start(greet: (event: Event) => void, handler: StreamHandler<Event>): void {
    const { call } = this.context;
    this.handler = handler;
    call.on("data", (event: Event) => this.receive(event, greet));
    call.on("end", () => this.end(endedWell));
    call.on("cancelled", () => this.becomeOver());
    call.on("close", () => this.becomeOver());
  }

  get isOpen(): boolean {
    return this.phase === "open";
  }

  nowMs(): number {
    return this.deps.clock.monotonicMs();
  }

  get isOver(): boolean {
    return this.phase === "over";
  }

  /** More waits to be written than the client should be given on top of. */
  get isCrowded(): boolean {
    return this.flow.isCrowded;
  }

  /**
   * Who the client is.
   * @throws QueueError unauthenticated, permission_denied
   */
  authenticate(token: string): Identity {
    this.token = token === "" ? null : token;
    return this.deps.authenticator.authenticate(this.token, this.name);
  }

  /** The first message is answered: everything is allowed now. */
  becomeOpen(identity: Identity, followsLeader: boolean): void {
    this.identity = identity;
    this.followsLeader = followsLeader;
    this.phase = "open";
  }

  write(frame: Buffer, cargo: readonly Grant[] | null = null): void {
    if (this.phase === "over") return;
    this.outbound.push(frame, cargo);
    this.updateGate();
  }

  /** A frame of so many bytes waits for its answer. */
  took(bytes: number): void {
    this.flow.work(1, bytes);
    this.updateGate();
  }

  /**
   * Frames of so many bytes were answered.
   * @param sinceMs - when the first of them was taken, on the monotonic clock
   */
  answered(frames: number, bytes: number, sinceMs: number): void {
    this.flow.work(-frames, -bytes);
    const ms = this.nowMs() - sinceMs;
    if (ms > this.deps.slowMs) {
      const { requestId: stream, name: service } = this;
      this.deps.logs.slow.note("slow request", { stream, service, frames, ms: Math.round(ms) });
    }
    this.updateGate();
    this.maybeFinish();
  }

  sendError(error: QueueError): void {
    const message = grpcErrorText(error);
    const detail = { code: serverErrorName(error.code), message, leader: error.leader };
    this.write(this.deps.wire.encodeServerError(this.name, detail));
  }

  /** A second Hello is told off; the stream goes on. */
  refuseHello(): void {
    const code = failedPreconditionName;
    const message = "hello was said already";
    this.write(this.deps.wire.encodeServerError(this.name, { code, message, leader: undefined }));
  }

  /** The nodes changed: clients that follow are told. */
  tellCluster(nodes: readonly WireNode[]): void {
    if (this.phase !== "open" || !this.followsLeader) return;
    this.write(this.deps.wire.encodeCluster(this.name, nodes));
  }

  /** Reads nothing more, lets outstanding answers go out, then ends with the status. */
  end(status: EndStatus): void {
    if (this.phase === "closing" || this.phase === "over") return;
    this.phase = "closing";
    this.status = status;
    if (status.code !== endedWell.code) {
      const { requestId: stream, name: service } = this;
      this.deps.logs.refusals.note("stream refused", { stream, service, status: status.code });
    }
    this.context.gate.setOpen(false);
    this.handler?.flowChanged();
    this.maybeFinish();
  }

  /** Ends now if nothing waits for an answer or to be written. */
  private maybeFinish(): void {
    const isAnswered = this.flow.framesInWork === 0 && this.outbound.isEmpty;
    if (this.phase !== "closing" || !isAnswered) return;
    this.phase = "over";
    const { call } = this.context;
    const { code, details } = this.status;
    // grpc-js takes the status of a stream from an error event, which also ends it.
    if (code === endedWell.code) call.end();
    else call.emit("error", Object.assign(new Error(details), { code, details }));
    this.leave();
  }

  /** Called now and then: silence, missing Hellos, tokens that are no longer good. */
  check(nowMs: number): void {
    if (this.phase === "over") return;
    if (this.phase === "greeting" && nowMs - this.startedMs >= limits.helloSeconds * 1000) {
      const text = `no hello within ${limits.helloSeconds} s`;
      this.end(brokenProtocol("DEADLINE_EXCEEDED", text));
    }
    const unreadMs = nowMs - this.outbound.waitingSinceMs;
    if (!this.outbound.isEmpty && unreadMs >= limits.grpcUnreadSeconds * 1000) {
      this.deps.logger.warn("client does not read its stream: cut", { stream: this.requestId });
      this.context.cut();
      this.becomeOver();
      return;
    }
    if (this.phase === "open" && nowMs - this.tokenCheckedMs >= limits.grpcTokenSeconds * 1000) {
      this.tokenCheckedMs = nowMs;
      this.checkToken();
    }
  }

  /** Ends with what was thrown: its own status, or INTERNAL with no more than the request's id. */
  fail(thrown: unknown): void {
    if (thrown instanceof InvariantError) throw thrown;
    if (thrown instanceof DecodeError) {
      this.end(brokenProtocol("INVALID_ARGUMENT", `malformed message: ${thrown.message}`));
      return;
    }
    const error = toQueueError(thrown);
    if (error.code !== "internal") {
      this.end(statusOf(error));
      return;
    }
    const text = String(error.cause ?? error);
    this.deps.logger.error("stream failed", { stream: this.requestId, error: text });
    this.end(statusOf(new QueueError("internal", `internal error (${this.requestId})`)));
  }

  private receive(event: Event, greet: (event: Event) => void): void {
    try {
      if (this.phase === "greeting") {
        if (event.kind === "hello") greet(event);
        else this.end(brokenProtocol("FAILED_PRECONDITION", "the first message must be a hello"));
      } else if (this.phase === "open") {
        this.handler?.handle(event);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  private checkToken(): void {
    try {
      this.deps.authenticator.authenticate(this.token, this.name);
    } catch (error) {
      this.fail(error);
    }
  }

  private wrote(): void {
    this.updateGate();
    this.handler?.flowChanged();
    this.maybeFinish();
  }

  private updateGate(): void {
    const isReading = this.phase === "greeting" || this.phase === "open";
    this.context.gate.setOpen(isReading && !this.flow.isFull && !this.isCrowded);
  }

  private becomeOver(): void {
    if (this.phase === "over") return;
    this.phase = "over";
    this.leave();
  }

  private leave(): void {
    this.handler?.over();
    this.flow.end();
    // What is still on its way in must not hold back the connection's other streams.
    this.context.gate.setOpen(true);
    this.context.onOver();
  }
}
