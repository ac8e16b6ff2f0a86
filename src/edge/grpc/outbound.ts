/**
 * What waits to be written to one stream: frames in order, some of them in the call's hands, so that
 * it is known at any moment which ones have not left.
 *
 * Several are handed over at once: a stream that had one message out at a time would send one per
 * turn of the event loop, each by a system call of its own.
 */
import { limits } from "../../base/limits.ts";

/** The part of a call that is written to. The callback comes when the message has left. */
export interface FrameSink {
  write(frame: Buffer, done: () => void): unknown;
}

export interface OutboundEvents {
  /** So many frames came to wait, or, below 0, left. */
  waits(frames: number, bytes: number): void;
  /** A frame has left. */
  wrote(): void;
}

/** What travels with a frame, to be undone if it never leaves. */
export class Outbound<Cargo> {
  /** Bytes of all frames that have not left. */
  bytes = 0;
  /** Monotonic ms at which the oldest of them came to be written, or the last one left. */
  waitingSinceMs = 0;
  /** Invariant: frames[head..handed) are in the call's hands, at least one if there is any. */
  private frames: Buffer[] = [];
  private cargoes: (Cargo | null)[] = [];
  private head = 0;
  private handed = 0;
  private handedBytes = 0;
  private readonly sink: FrameSink;
  private readonly now: () => number;
  private readonly events: OutboundEvents;
  private readonly onWritten = (): void => this.written();

  constructor(sink: FrameSink, now: () => number, events: OutboundEvents) {
    this.sink = sink;
    this.now = now;
    this.events = events;
  }

  get isEmpty(): boolean {
    return this.head === this.frames.length;
  }

  push(frame: Buffer, cargo: Cargo | null): void {
    if (this.isEmpty) this.waitingSinceMs = this.now();
    this.bytes += frame.length;
    this.events.waits(1, frame.length);
    this.frames.push(frame);
    this.cargoes.push(cargo);
    this.handOver();
  }

  /** What was to travel with the frames that have not left. */
  unsent(): Cargo[] {
    return this.cargoes.slice(this.head).filter((cargo) => cargo !== null);
  }

  private handOver(): void {
    while (this.handed < this.frames.length) {
      if (this.handed > this.head && this.handedBytes >= limits.grpcHandedBytes) return;
      const frame = this.frames[this.handed++] as Buffer;
      this.handedBytes += frame.length + limits.grpcOutboundFrameBytes;
      this.sink.write(frame, this.onWritten);
    }
  }

  private written(): void {
    const { length } = this.frames[this.head] as Buffer;
    this.bytes -= length;
    this.events.waits(-1, -length);
    this.handedBytes -= length + limits.grpcOutboundFrameBytes;
    this.head++;
    this.waitingSinceMs = this.now();
    if (this.isEmpty) {
      this.frames = [];
      this.cargoes = [];
      this.head = 0;
      this.handed = 0;
    } else {
      // Half of the list is history: let it go, so that the list stays as long as what waits.
      if (this.head > 64 && this.head * 2 > this.frames.length) {
        this.frames = this.frames.slice(this.head);
        this.cargoes = this.cargoes.slice(this.head);
        this.handed -= this.head;
        this.head = 0;
      }
      this.handOver();
    }
    this.events.wrote();
  }
}
