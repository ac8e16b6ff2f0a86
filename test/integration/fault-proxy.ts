/**
 * A TCP proxy that does to a connection what networks do: delay, jitter, a slow line, silence in
 * one direction or both, a broken byte, an end or a reset in the middle of a frame. Switched while
 * it runs; a direction at a time.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

/** To whom the bytes flow. */
export type Direction = "target" | "dialler";

export const directions: readonly Direction[] = ["target", "dialler"];

export interface Line {
  /** Ms that each byte takes; order is kept. */
  readonly delayMs: number;
  /** Up to so many ms more, by chance for each piece. */
  readonly jitterMs: number;
  readonly bitsPerSecond: number;
  /** Chance that a packet is lost; TCP sends it again, and what follows waits for it. */
  readonly loss: number;
}

const goodLine: Line = {
  delayMs: 0,
  jitterMs: 0,
  bitsPerSecond: Number.POSITIVE_INFINITY,
  loss: 0,
};

/**
 * What Linux does on a line that loses packets: they hold 1,460 bytes, few are under way, what is
 * sent meanwhile is held back and shares packets, and since others follow a lost one it is missed
 * after a round trip and a quarter (RACK). Measured with Linux 6.18 over two tunnels that lose 30 %
 * and take 50–150 ms, 60 writes of 108 bytes a second: delays of 344, 647 and 914 ms (median, 90 %,
 * 99 %), in a minute 60 silences above 300 ms and 11 above 600; here 354, 678 and 1,017 ms, 65 and
 * 15. Not in it: when all that is under way is lost, the wait doubles (once 14 s at 20 writes a
 * second).
 */
const packetBytes = 1_460;
const packetsUnderWayMax = 4;
const resendRoundTrips = 1.25;

/** Bytes that one direction of a connection holds before it reads no more. */
const heldBytesMax = 1 << 20;

/** What holds for one direction of all connections of a proxy. */
class Lane {
  line = goodLine;
  /** Nothing passes, and no end of a connection is seen. */
  isSilent = false;
  /** Bytes that still pass before one is flipped; null: none is. */
  corruptAfter: number | null = null;
  /** Bytes that still pass before their connection is reset; null: it is not. */
  resetAfter: number | null = null;
  passed = 0;
  readonly unit: () => number;

  constructor(unit: () => number) {
    this.unit = unit;
  }
}

interface Piece {
  readonly bytes: Buffer;
  readonly dueMs: number;
}

/** One direction of one connection. */
class Pipe {
  private readonly lane: Lane;
  private readonly from: Socket;
  private readonly to: Socket;
  private readonly cut: () => void;
  private readonly held: Piece[] = [];
  private heldBytes = 0;
  private lastDueMs = 0;
  private timer: NodeJS.Timeout | null = null;
  /** On a line that loses packets: not sent yet, and when those that are will be acknowledged. */
  private unsent = Buffer.alloc(0);
  private acknowledgedMs: number[] = [];
  private sendTimer: NodeJS.Timeout | null = null;
  private ending: "end" | "reset" | null = null;

  constructor(lane: Lane, from: Socket, to: Socket, cut: () => void) {
    this.lane = lane;
    this.from = from;
    this.to = to;
    this.cut = cut;
    from.on("data", (bytes) => this.take(bytes));
    from.on("end", () => this.end("end"));
    from.on("error", () => this.end("reset"));
    from.on("close", (hadError) => this.end(hadError ? "reset" : "end"));
    to.on("drain", () => this.push());
  }

  /** The lane has changed. */
  update(): void {
    this.sendPackets();
    this.push();
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    if (this.sendTimer !== null) clearTimeout(this.sendTimer);
    this.timer = null;
    this.sendTimer = null;
    this.held.length = 0;
    this.unsent = Buffer.alloc(0);
  }

  private take(bytes: Buffer): void {
    this.heldBytes += bytes.length;
    if (this.lane.line.loss > 0 || this.unsent.length > 0) {
      this.unsent = Buffer.concat([this.unsent, bytes]);
      this.sendPackets();
    } else this.send(bytes, performance.now());
    this.push();
  }

  /** As many packets as may be under way. */
  private sendPackets(): void {
    const { line } = this.lane;
    const now = performance.now();
    this.acknowledgedMs = this.acknowledgedMs.filter((ms) => ms > now);
    const max = line.loss > 0 ? packetsUnderWayMax : Number.POSITIVE_INFINITY;
    while (this.unsent.length > 0 && this.acknowledgedMs.length < max) {
      const packet = this.unsent.subarray(0, packetBytes);
      this.unsent = this.unsent.subarray(packetBytes);
      this.acknowledgedMs.push(this.send(packet, now) + this.lineMs());
    }
    if (this.unsent.length === 0 || this.sendTimer !== null) return;
    const next = Math.min(...this.acknowledgedMs);
    this.sendTimer = setTimeout(() => {
      this.sendTimer = null;
      this.sendPackets();
      this.push();
    }, next - now);
  }

  private lineMs(): number {
    const { line, unit } = this.lane;
    return line.delayMs + unit() * line.jitterMs;
  }

  /** @returns when it is there; those behind a later one wait for it */
  private send(bytes: Buffer, now: number): number {
    const { line, unit } = this.lane;
    const sendMs = (bytes.length * 8 * 1000) / line.bitsPerSecond;
    let arrives = now + this.lineMs();
    const resendMs = resendRoundTrips * 2 * (line.delayMs + line.jitterMs / 2);
    while (unit() < line.loss) arrives += resendMs;
    this.lastDueMs = Math.max(arrives, this.lastDueMs) + sendMs;
    this.held.push({ bytes, dueMs: this.lastDueMs });
    return arrives;
  }

  private end(how: "end" | "reset"): void {
    this.ending ??= how;
    this.push();
  }

  /** Passes on what is due. */
  private push(): void {
    const { held, lane, from, to } = this;
    if (!lane.isSilent) {
      for (let piece = held[0]; piece !== undefined; piece = held[0]) {
        if (piece.dueMs > performance.now() || to.writableNeedDrain) break;
        held.shift();
        this.heldBytes -= piece.bytes.length;
        if (!this.pass(piece.bytes)) return;
      }
      if (held.length === 0 && this.unsent.length === 0 && this.ending !== null) {
        this.finish(this.ending);
        return;
      }
      this.setTimer();
    }
    if (lane.isSilent || this.heldBytes > heldBytesMax) from.pause();
    else from.resume();
  }

  private setTimer(): void {
    const next = this.held[0];
    if (next === undefined || this.timer !== null) return;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        this.push();
      },
      Math.max(0, next.dueMs - performance.now()),
    );
  }

  /** @returns false if the connection is reset here */
  private pass(bytes: Buffer): boolean {
    const { lane, to } = this;
    const { corruptAfter, resetAfter } = lane;
    if (corruptAfter !== null && corruptAfter < bytes.length) {
      bytes[corruptAfter] = (bytes[corruptAfter] as number) ^ 0x10;
      lane.corruptAfter = null;
    } else if (corruptAfter !== null) {
      lane.corruptAfter = corruptAfter - bytes.length;
    }
    if (resetAfter !== null && resetAfter <= bytes.length) {
      lane.resetAfter = null;
      lane.passed += resetAfter;
      // Written in full before the reset overtakes it.
      to.write(bytes.subarray(0, resetAfter), () => this.cut());
      return false;
    }
    if (resetAfter !== null) lane.resetAfter = resetAfter - bytes.length;
    lane.passed += bytes.length;
    to.write(bytes);
    return true;
  }

  private finish(how: "end" | "reset"): void {
    this.stop();
    if (how === "end") this.to.end();
    else this.to.resetAndDestroy();
  }
}

export class FaultProxy {
  /** Where new connections are led; those that stand stay where they are. */
  target: ProxyTarget;
  /** New connections are ended at once. */
  isClosedToAll = false;
  private readonly server: Server;
  private readonly lanes: Readonly<Record<Direction, Lane>>;
  private readonly pipes = new Set<Pipe>();
  private readonly sockets = new Set<Socket>();

  /** @param unit - chance of jitter and loss, 0 ≤ x < 1 */
  constructor(target: ProxyTarget, unit: () => number = () => 0.5) {
    this.target = target;
    this.lanes = { target: new Lane(unit), dialler: new Lane(unit) };
    this.server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      this.accept(socket);
    });
  }

  /** Listens on a free port of the loopback interface. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(0, "127.0.0.1", resolve);
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Connections that stand, seen from the diallers. */
  get connections(): number {
    return this.pipes.size / 2;
  }

  /** Bytes that have passed in a direction. */
  passed(direction: Direction): number {
    return this.lanes[direction].passed;
  }

  /** What is not named is good again. */
  setLine(line: Partial<Line>, ...of: readonly Direction[]): void {
    for (const direction of of) this.lanes[direction].line = { ...goodLine, ...line };
  }

  /** From now on nothing passes, ends of connections included; none is cut. */
  silence(...of: readonly Direction[]): void {
    for (const direction of of) this.lanes[direction].isSilent = true;
    this.updateAll();
  }

  /** The lines are good, and what was held back passes. */
  heal(): void {
    this.setLine({}, ...directions);
    this.isClosedToAll = false;
    for (const direction of directions) this.lanes[direction].isSilent = false;
    this.updateAll();
  }

  /** Flips a bit of the byte that follows so many others. */
  corrupt(direction: Direction, afterBytes: number): void {
    this.lanes[direction].corruptAfter = afterBytes;
  }

  /** Resets the connection on which so many bytes more have passed: in the middle of a frame. */
  resetAfter(direction: Direction, bytes: number): void {
    this.lanes[direction].resetAfter = bytes;
  }

  /** Resets all connections, as when a process was killed with bytes unread. */
  reset(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  close(): Promise<void> {
    for (const pipe of this.pipes) pipe.stop();
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => {
      this.server.close(() => resolve());
    });
  }

  private updateAll(): void {
    for (const pipe of this.pipes) pipe.update();
  }

  private accept(dialler: Socket): void {
    this.lead(dialler, connect({ ...this.target, noDelay: true, allowHalfOpen: true }));
  }

  /**
   * Takes over a connection that somebody else has accepted and led on.
   * @param held - what the dialler has sent and the target has not got
   */
  lead(dialler: Socket, target: Socket, held: readonly Buffer[] = []): void {
    if (this.isClosedToAll) {
      dialler.destroy();
      target.destroy();
      return;
    }
    const cut = () => {
      dialler.resetAndDestroy();
      target.resetAndDestroy();
    };
    const pipes = [
      new Pipe(this.lanes.target, dialler, target, cut),
      new Pipe(this.lanes.dialler, target, dialler, cut),
    ];
    for (const pipe of pipes) {
      this.pipes.add(pipe);
      pipe.update();
    }
    for (const bytes of held) dialler.emit("data", bytes);
    for (const socket of [dialler, target]) {
      this.sockets.add(socket);
      socket.on("close", () => {
        this.sockets.delete(socket);
        if (this.sockets.has(dialler) || this.sockets.has(target)) return;
        for (const pipe of pipes) {
          pipe.stop();
          this.pipes.delete(pipe);
        }
      });
    }
  }
}
