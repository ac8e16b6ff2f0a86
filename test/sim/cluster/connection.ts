/**
 * A connection between two simulated nodes. Each direction of each channel is a lane of its own:
 * frames leave one after the other as fast as the line takes them, and arrive in that order.
 */

import type { Channel } from "../../../src/transport/transport.ts";
import type { VirtualTime } from "../clock.ts";
import type { SimTransport } from "./sim-transport.ts";

export interface Frame {
  readonly channel: Channel;
  readonly group: number;
  readonly type: number;
  readonly body: Buffer;
}

interface BelowWaiter {
  readonly bytes: number;
  readonly callback: () => void;
}

export class Lane {
  /** Frames that the line does not take: nothing gets through at the moment. */
  held: Frame[] = [];
  /** When the last frame arrives. */
  arrivesUs = 0;
  private readonly time: VirtualTime;
  private readonly bytesPerUs: number;
  private readonly leaving: { readonly bytes: number; readonly atUs: number }[] = [];
  private leavingBytes = 0;
  private heldBytes = 0;
  private freeUs = 0;
  private waiters: BelowWaiter[] = [];

  constructor(time: VirtualTime, bytesPerUs: number) {
    this.time = time;
    this.bytesPerUs = bytesPerUs;
  }

  /** A frame is put on the line. @returns µs from now until it has left */
  take(bytes: number): number {
    const { time } = this;
    this.freeUs = Math.max(this.freeUs, time.nowUs) + bytes / this.bytesPerUs;
    this.leaving.push({ bytes, atUs: this.freeUs });
    this.leavingBytes += bytes;
    return this.freeUs - time.nowUs;
  }

  hold(frame: Frame): void {
    this.held.push(frame);
    this.heldBytes += frame.body.length;
  }

  releaseHeld(): Frame[] {
    const frames = this.held;
    this.held = [];
    this.heldBytes = 0;
    return frames;
  }

  get waitingBytes(): number {
    const { leaving, time } = this;
    while (leaving[0] && leaving[0].atUs <= time.nowUs) {
      this.leavingBytes -= leaving[0].bytes;
      leaving.shift();
    }
    return this.leavingBytes + this.heldBytes;
  }

  whenBelow(bytes: number, callback: () => void): void {
    this.waiters.push({ bytes, callback });
    this.serve();
  }

  /** Calls those back that have waited long enough, in later events. */
  serve(): void {
    const { time } = this;
    const bytes = this.waitingBytes;
    this.waiters = this.waiters.filter((waiter) => {
      if (bytes > waiter.bytes) return true;
      time.after(0, waiter.callback);
      return false;
    });
    const next = this.leaving[0];
    if (this.waiters.length === 0 || !next) return;
    time.after(Math.max(1, next.atUs - time.nowUs), () => this.serve());
  }

  /** The connection is gone. */
  end(): void {
    for (const { callback } of this.waiters) this.time.after(0, callback);
    this.waiters = [];
    this.held = [];
  }
}

export class Connection {
  readonly ends: readonly [SimTransport, SimTransport];
  /** Whether each end has been told that the other one is there. */
  readonly told: [boolean, boolean] = [false, false];
  /** Frames that arrive later are lost. */
  lostFromUs = Number.POSITIVE_INFINITY;
  private readonly lanes = new Map<string, Lane>();
  private readonly time: VirtualTime;
  private readonly bytesPerUs: number;

  constructor(ends: readonly [SimTransport, SimTransport], time: VirtualTime, bytesPerUs: number) {
    this.ends = ends;
    this.time = time;
    this.bytesPerUs = bytesPerUs;
  }

  sideOf(end: SimTransport): 0 | 1 {
    return this.ends[0] === end ? 0 : 1;
  }

  otherOf(end: SimTransport): SimTransport {
    return this.ends[0] === end ? this.ends[1] : this.ends[0];
  }

  lane(from: SimTransport, channel: Channel): Lane {
    const name = `${this.sideOf(from)} ${channel}`;
    let lane = this.lanes.get(name);
    if (!lane) {
      lane = new Lane(this.time, this.bytesPerUs);
      this.lanes.set(name, lane);
    }
    return lane;
  }

  lanesFrom(from: SimTransport): Lane[] {
    const side = String(this.sideOf(from));
    return [...this.lanes].filter(([name]) => name.startsWith(side)).map(([, lane]) => lane);
  }
}
