/**
 * One TCP connection between two nodes. Frames flow from the one who dialled to the one who
 * accepted; the other way go answers to pings only.
 *
 *   dialling ── connected ──► greeting ── proofs both ways ──► open ── end ──► ending ──► closed
 *                               ▲                                                           ▲
 *   accepted ───────────────────┘              refused, cut, silent, ended: from every state
 *
 * What is sent in one turn leaves in one write; while a write is under way the next one forms.
 */
import { unreachable } from "../base/assert.ts";
import type { Clock, TimerHandle, Timers } from "../base/effects.ts";
import { KiB, limits } from "../base/limits.ts";
import { FrameBatch, FrameDecoder, type FrameFault } from "./frame.ts";
import { type Handshake, type HandshakeStep, type OwnMessage, ownTypes } from "./handshake.ts";
import type { Socket, SocketEvents } from "./sockets.ts";
import {
  type Channel,
  frameBodyBytesMax,
  frameTypeMax,
  type NodeIdentity,
  nodeGroup,
  type RefusalReason,
} from "./transport.ts";

export type ConnectionState =
  | { readonly kind: "dialling" }
  | { readonly kind: "greeting"; readonly handshake: Handshake }
  | { readonly kind: "open" }
  /** All is written, and the other side is waited for. */
  | { readonly kind: "ending"; readonly done: () => void }
  | { readonly kind: "closed" };

export type CloseCause =
  /** The socket's end; not a reset: nothing was heard. */
  | { readonly kind: "lost"; readonly reset: boolean; readonly text: string }
  | { readonly kind: "refused"; readonly reason: RefusalReason; readonly text: string };

export interface Opened {
  readonly peer: NodeIdentity;
  readonly channel: Channel;
  /** What this side said of its cluster. */
  readonly clusterId: string;
}

/** Nothing is told after `closed`, and nothing after `close`. */
export interface ConnectionEvents {
  opened(connection: Connection, opened: Opened): void;
  /** A frame of the layer above, or that the peer's cluster changed (ownTypes.cluster). */
  frame(connection: Connection, group: number, type: number, body: Buffer): void;
  closed(connection: Connection, cause: CloseCause): void;
}

interface Waiter {
  readonly bytes: number;
  readonly callback: () => void;
}

/** A write of this size that the system took over shows that the other side reads. */
const progressBytes = 64 * KiB;

export interface ConnectionDeps {
  readonly clock: Clock;
  readonly timers: Timers;
}

export class Connection implements SocketEvents {
  readonly isDialled: boolean;
  /** Monotonic ms at which the last bytes came. */
  heardMs = 0;
  private state: ConnectionState;
  private readonly clock: Clock;
  private readonly timers: Timers;
  private readonly events: ConnectionEvents;
  private readonly handshake: Handshake;
  private readonly socket: Socket;
  private readonly decoder: FrameDecoder;
  private readonly batch = new FrameBatch();
  private readonly deadline: TimerHandle;
  private waiters: Waiter[] = [];
  /** Bytes given to the system and not yet taken over by it. */
  private writingBytes = 0;
  private isFlushDue = false;
  /** Something of the handshake has come. */
  private isGreeted = false;
  /** Its pings wait behind long frames: progress of those counts as well. */
  private isLong = false;
  /** Ticks since something was heard. Own time: a process that stood still blames no peer. */
  private quietTicks = 0;

  /** @param source - a socket that was accepted, or how to dial one */
  constructor(
    deps: ConnectionDeps,
    handshake: Handshake,
    events: ConnectionEvents,
    source: { readonly accepted: Socket } | { readonly dial: (events: SocketEvents) => Socket },
  ) {
    this.clock = deps.clock;
    this.timers = deps.timers;
    this.handshake = handshake;
    this.events = events;
    this.isDialled = "dial" in source;
    this.decoder = new FrameDecoder(limits.handshakeBytes, (group, type, body) =>
      this.receive(group, type, body),
    );
    this.state = { kind: "dialling" };
    this.socket = "dial" in source ? source.dial(this) : source.accepted;
    this.deadline = deps.timers.after(this.isDialled ? limits.dialMs : limits.handshakeMs, () =>
      this.over({ kind: "lost", reset: false, text: "no handshake in time" }),
    );
    if (!this.isDialled) this.connected();
  }

  get remote(): string {
    return this.socket.remote;
  }

  get isOpen(): boolean {
    return this.state.kind === "open";
  }

  /** Bytes of frames that were sent and that the system has not taken over. */
  get waitingBytes(): number {
    return this.batch.bytes + this.writingBytes;
  }

  /** Only while it is open. */
  send(group: number, type: number, parts: readonly Uint8Array[]): void {
    this.batch.add(group, type, parts);
    if (this.isFlushDue || this.writingBytes > 0) return;
    this.isFlushDue = true;
    this.timers.soon(() => {
      this.isFlushDue = false;
      this.flush();
    });
  }

  whenBelow(bytes: number, callback: () => void): void {
    this.waiters.push({ bytes, callback });
    this.timers.soon(() => this.wake());
  }

  /**
   * A quarter of the silence has passed: pings, and looks whether anything was heard.
   * @param quietMax - ticks without a byte that are too many
   */
  tick(quietMax: number): void {
    if (this.state.kind !== "open") return;
    if (++this.quietTicks > quietMax) {
      this.over({ kind: "lost", reset: false, text: "nothing was heard" });
    } else if (this.isDialled) {
      this.send(nodeGroup, ownTypes.ping, []);
    }
  }

  /** Frames are left where they are until `resume`. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.quietTicks = 0;
    this.socket.resume();
  }

  /** Cuts it; `closed` is not told. */
  close(): void {
    this.setState({ kind: "closed" });
  }

  /** Writes what waits and ends it; `done` when the other side has read all. No more events. */
  end(done: () => void): void {
    while (this.batch.bytes > 0) this.write();
    this.socket.end();
    this.setState({ kind: "ending", done });
  }

  connected(): void {
    if (this.state.kind !== "dialling") return;
    this.setState({ kind: "greeting", handshake: this.handshake });
    if (this.handshake.opening !== null) this.say(this.handshake.opening);
  }

  data(chunk: Buffer): void {
    this.quietTicks = 0;
    this.heardMs = this.clock.monotonicMs();
    const fault = this.decoder.push(chunk);
    if (fault !== null) this.fail(fault);
  }

  written(): void {
    if (this.isLong && this.writingBytes >= progressBytes) this.quietTicks = 0;
    this.writingBytes = 0;
    this.flush();
    this.wake();
  }

  closed(reset: boolean, text: string): void {
    this.over({ kind: "lost", reset, text });
  }

  private setState(next: ConnectionState): void {
    if (this.state.kind === "closed") return;
    this.state = next;
    switch (next.kind) {
      case "dialling":
      case "greeting":
      case "ending":
        return;
      case "open":
        this.deadline.cancel();
        this.decoder.bodyBytesMax = this.isDialled ? 0 : frameBodyBytesMax;
        return;
      case "closed":
        this.deadline.cancel();
        this.socket.destroy();
        for (const { callback } of this.waiters.splice(0)) this.timers.soon(callback);
        return;
      default:
        unreachable(next);
    }
  }

  private over(cause: CloseCause): void {
    const before = this.state;
    if (before.kind === "closed") return;
    this.setState({ kind: "closed" });
    if (before.kind === "ending") before.done();
    else this.events.closed(this, cause);
  }

  private refuse(reason: RefusalReason, text: string): void {
    this.over({ kind: "refused", reason, text });
  }

  private fail(fault: FrameFault): void {
    // Before the first message any stranger may be there: a browser, a scanner.
    const isFirst = this.state.kind === "greeting" && !this.isDialled && !this.isGreeted;
    this.refuse(isFirst ? "magic" : "protocol", `a frame with a wrong ${fault}`);
  }

  /** @returns false if nothing more is to be decoded */
  private receive(group: number, type: number, body: Buffer): boolean {
    if (this.state.kind === "greeting") this.greet(this.state.handshake, group, type, body);
    else if (this.state.kind === "open") this.take(group, type, body);
    return this.state.kind !== "closed";
  }

  private greet(handshake: Handshake, group: number, type: number, body: Buffer): void {
    if (group !== nodeGroup) {
      this.refuse(this.isGreeted ? "protocol" : "magic", `a frame of group ${group}`);
      return;
    }
    const step = handshake.receive(type, body);
    this.isGreeted = true;
    switch (step.kind) {
      case "reply":
        this.say(step.message);
        return;
      case "done":
        this.open(step);
        return;
      case "refused":
        this.refuse(step.reason, "says the other side");
        return;
      case "refuse":
        if (step.message !== null) this.say(step.message);
        this.refuse(step.reason, "says this side");
        return;
      default:
        unreachable(step);
    }
  }

  private open(step: HandshakeStep & { readonly kind: "done" }): void {
    if (step.message !== null) this.say(step.message);
    this.isLong = step.channel !== "control";
    this.setState({ kind: "open" });
    this.events.opened(this, step);
  }

  private take(group: number, type: number, body: Buffer): void {
    if (this.isDialled) {
      if (group !== nodeGroup || type !== ownTypes.pong) this.refuse("protocol", `type ${type}`);
    } else if (type <= frameTypeMax || (group === nodeGroup && type === ownTypes.cluster)) {
      this.events.frame(this, group, type, body);
    } else if (group === nodeGroup && type === ownTypes.ping) {
      this.send(nodeGroup, ownTypes.pong, []);
    } else {
      this.refuse("protocol", `a frame of type ${type}`);
    }
  }

  /** Messages of the handshake leave at once: whoever sends one may be cut off right after. */
  private say(message: OwnMessage): void {
    this.batch.add(nodeGroup, message.type, [message.body]);
    this.flush();
  }

  private flush(): void {
    if (this.batch.bytes === 0 || this.writingBytes > 0) return;
    if (this.state.kind !== "closed") this.write();
  }

  private write(): void {
    const before = this.batch.bytes;
    const chunks = this.batch.take(limits.peerWriteBytes);
    this.writingBytes += before - this.batch.bytes;
    this.socket.write(chunks);
  }

  private wake(): void {
    const waiting = this.waitingBytes;
    const due = this.waiters.filter((waiter) => waiter.bytes >= waiting);
    if (due.length === 0) return;
    this.waiters = this.waiters.filter((waiter) => waiter.bytes < waiting);
    for (const { callback } of due) callback();
  }
}
