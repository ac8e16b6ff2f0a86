/**
 * What waits to be written to one stream: frames in order, one in the call's hands at a time, so
 * that it is known at any moment which ones have not left.
 */

/** The part of a call that is written to. The callback comes when the message has left. */
export interface FrameSink {
  write(frame: Buffer, done: () => void): unknown;
}

export interface OutboundEvents {
  /** A frame has left. */
  wrote(): void;
}

/** What travels with a frame, to be undone if it never leaves. */
export class Outbound<Cargo> {
  /** Bytes of all frames that have not left. */
  bytes = 0;
  /** Monotonic ms at which the oldest of them came to be written. */
  waitingSinceMs = 0;
  /** Invariant: frames[head] is in the call's hands whenever head < frames.length. */
  private frames: Buffer[] = [];
  private cargoes: (Cargo | null)[] = [];
  private head = 0;
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
    const wasEmpty = this.isEmpty;
    this.bytes += frame.length;
    this.frames.push(frame);
    this.cargoes.push(cargo);
    if (wasEmpty) this.writeHead();
  }

  /** What was to travel with the frames that have not left. */
  unsent(): Cargo[] {
    return this.cargoes.slice(this.head).filter((cargo) => cargo !== null);
  }

  private writeHead(): void {
    this.waitingSinceMs = this.now();
    this.sink.write(this.frames[this.head] as Buffer, this.onWritten);
  }

  private written(): void {
    this.bytes -= (this.frames[this.head] as Buffer).length;
    this.head++;
    if (this.isEmpty) {
      this.frames = [];
      this.cargoes = [];
      this.head = 0;
    } else {
      // Half of the list is history: let it go, so that the list stays as long as what waits.
      if (this.head > 64 && this.head * 2 > this.frames.length) {
        this.frames = this.frames.slice(this.head);
        this.cargoes = this.cargoes.slice(this.head);
        this.head = 0;
      }
      this.writeHead();
    }
    this.events.wrote();
  }
}
