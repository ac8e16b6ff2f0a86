/**
 * What the calls of one connection hold together: unfinished messages, frames that wait for their
 * answers, answers that were not read. Bounds per call alone would let one client take a thousand
 * times as much; so a connection has bounds, and the node.
 *
 * A connection that gathers too much goes on with the message that has waited longest: the data of its
 * other calls stay with the client. If all of them together are too much for the node, the connection
 * that holds most loses its unfinished messages.
 */
import { ByteBudget } from "../../base/byte-budget.ts";
import { BlockPool } from "../../base/gather.ts";
import { KiB, limits } from "../../base/limits.ts";
import type { Gathering, MessageAssembler } from "./assembler.ts";

/** As much as a frame of HTTP/2 carries, unless client and server agree on more. */
const blockBytes = 16 * KiB;
const spareBlocks = 256;

/** Bytes held somewhere, and in all that this is a part of. */
export class Held {
  bytes = 0;
  private readonly whole: Held | null;

  constructor(whole: Held | null) {
    this.whole = whole;
  }

  add(bytes: number): void {
    this.bytes += bytes;
    this.whole?.add(bytes);
  }
}

/** What all connections have in common. */
export class NodeFlow {
  readonly pool = new BlockPool(blockBytes, spareBlocks);
  readonly gathering = new ByteBudget<ConnectionFlow>(limits.grpcGatheringBytesNode);
  readonly inWork = new Held(null);
  readonly outbound = new Held(null);
}

export class ConnectionFlow implements Gathering {
  private readonly node: NodeFlow;
  /** Frames that were read and not yet answered. */
  private readonly inWork: Held;
  /** Answers that were not yet taken. */
  private readonly outbound: Held;
  /** Calls within a message, by when it began, and their bytes. */
  private readonly held = new Map<MessageAssembler, number>();
  private readonly paused = new Set<MessageAssembler>();
  private bytes = 0;

  constructor(node: NodeFlow) {
    this.node = node;
    this.inWork = new Held(node.inWork);
    this.outbound = new Held(node.outbound);
  }

  /** The part of one call. */
  call(): CallFlow {
    return new CallFlow(this.node, this.inWork, this.outbound);
  }

  holds(assembler: MessageAssembler, bytes: number): void {
    const before = this.held.get(assembler) ?? 0;
    if (bytes === before) return;
    this.bytes += bytes - before;
    if (bytes > 0) this.held.set(assembler, bytes);
    else this.forget(assembler);
    this.node.gathering.hold(this, this.bytes);
    if (bytes > before) this.maybePause(assembler);
    else this.goOn();
  }

  private forget(assembler: MessageAssembler): void {
    this.held.delete(assembler);
    this.paused.delete(assembler);
  }

  private maybePause(assembler: MessageAssembler): void {
    const [eldest] = this.held.keys();
    if (this.bytes <= limits.grpcGatheringBytes || assembler === eldest) return;
    if (!this.held.has(assembler)) return;
    this.paused.add(assembler);
    assembler.pause();
  }

  private goOn(): void {
    if (this.bytes <= limits.grpcGatheringBytes) {
      const all = [...this.paused];
      this.paused.clear();
      for (const assembler of all) assembler.resume();
      return;
    }
    const [eldest] = this.held.keys();
    if (eldest !== undefined && this.paused.delete(eldest)) eldest.resume();
  }

  /** The budget has forgotten all that this connection held. */
  giveUp(): void {
    const all = [...this.held.keys()];
    this.held.clear();
    this.paused.clear();
    this.bytes = 0;
    for (const assembler of all) assembler.giveUp();
  }
}

/** What one call holds, beside unfinished messages. */
export class CallFlow {
  private readonly node: NodeFlow;
  private readonly ofWork: Held;
  private readonly ofOutbound: Held;
  private readonly inWork: Held;
  private readonly outbound: Held;
  private frames = 0;
  private isOver = false;

  constructor(node: NodeFlow, inWork: Held, outbound: Held) {
    this.node = node;
    this.ofWork = inWork;
    this.ofOutbound = outbound;
    this.inWork = new Held(inWork);
    this.outbound = new Held(outbound);
  }

  /** Frames that wait for their answers. */
  get framesInWork(): number {
    return this.frames;
  }

  /** So many frames are in work now, or, below 0, no longer. */
  work(frames: number, bytes: number): void {
    if (this.isOver) return;
    this.frames += frames;
    this.inWork.add(bytes + frames * limits.grpcFrameBytes);
  }

  /** So many frames wait to be taken, or, below 0, no longer. */
  wait(frames: number, bytes: number): void {
    if (!this.isOver) this.outbound.add(bytes + frames * limits.grpcFrameBytes);
  }

  /** Nothing more should be read: too much is in work. Who has little in work may go on. */
  get isFull(): boolean {
    const { inWork, ofWork, node, frames } = this;
    if (inWork.bytes > limits.grpcInboundBytes || frames > limits.grpcInboundFrames) return true;
    if (inWork.bytes <= limits.grpcInboundShare) return false;
    return (
      ofWork.bytes > limits.grpcInboundBytesConnection ||
      node.inWork.bytes > limits.grpcInboundBytesNode
    );
  }

  /** More waits to be taken than should be given on top. Who takes all may go on. */
  get isCrowded(): boolean {
    const { outbound, ofOutbound, node } = this;
    if (outbound.bytes > limits.grpcOutboundBytes) return true;
    if (outbound.bytes <= limits.grpcOutboundShare) return false;
    return (
      ofOutbound.bytes > limits.grpcOutboundBytesConnection ||
      node.outbound.bytes > limits.grpcOutboundBytesNode
    );
  }

  /** The call is over: what it holds is let go. */
  end(): void {
    this.isOver = true;
    this.inWork.add(-this.inWork.bytes);
    this.outbound.add(-this.outbound.bytes);
  }
}
