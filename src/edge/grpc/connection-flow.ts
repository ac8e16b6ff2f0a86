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

/** Frames and bytes held somewhere, and in all that this is a part of. */
export class Held {
  frames = 0;
  bytes = 0;
  private readonly whole: Held | null;

  constructor(whole: Held | null) {
    this.whole = whole;
  }

  add(frames: number, bytes: number): void {
    this.frames += frames;
    this.bytes += bytes;
    this.whole?.add(frames, bytes);
  }

  clear(): void {
    this.add(-this.frames, -this.bytes);
  }
}

/** What all connections have in common. */
export class NodeFlow {
  readonly pool = new BlockPool(blockBytes, spareBlocks);
  readonly gathering = new ByteBudget<ConnectionFlow>(limits.grpcGatheringBytesNode);
  readonly inWork = new Held(null);
  readonly outbound = new Held(null);
}

/** The part of an HTTP/2 session that bounds what its client may send. */
export interface SessionSettings {
  readonly destroyed: boolean;
  settings(settings: { readonly initialWindowSize: number }): void;
}

export class ConnectionFlow implements Gathering {
  private readonly node: NodeFlow;
  private readonly session: SessionSettings | null;
  private streams = 0;
  private isCrowd = false;
  /** Frames that were read and not yet answered. */
  readonly inWork: Held;
  /** Answers that were not yet taken. */
  readonly outbound: Held;
  /** Names of queues. */
  readonly names = new Held(null);
  /** Calls within a message, by when it began, and their bytes. */
  private readonly held = new Map<MessageAssembler, number>();
  private readonly paused = new Set<MessageAssembler>();
  private bytes = 0;

  constructor(node: NodeFlow, session: SessionSettings | null) {
    this.node = node;
    this.session = session;
    this.inWork = new Held(node.inWork);
    this.outbound = new Held(node.outbound);
  }

  /** The part of one call. */
  call(): CallFlow {
    return new CallFlow(this.node, this);
  }

  streamBegan(): void {
    this.streams++;
    if (!this.isCrowd && this.streams > limits.grpcCrowdStreams) this.setCrowd(true);
  }

  streamEnded(): void {
    this.streams--;
    if (this.isCrowd && this.streams <= limits.grpcCrowdStreams / 2) this.setCrowd(false);
  }

  /** The windows of many streams must not add up to what one client should not fill. */
  private setCrowd(isCrowd: boolean): void {
    const { session } = this;
    this.isCrowd = isCrowd;
    if (session === null || session.destroyed) return;
    const initialWindowSize = isCrowd ? limits.grpcWindowBytesCrowd : limits.grpcWindowBytes;
    session.settings({ initialWindowSize });
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
  private readonly connection: ConnectionFlow;
  readonly inWork: Held;
  readonly outbound: Held;
  private readonly names: Held;
  private isOver = false;

  constructor(node: NodeFlow, connection: ConnectionFlow) {
    this.node = node;
    this.connection = connection;
    this.inWork = new Held(connection.inWork);
    this.outbound = new Held(connection.outbound);
    this.names = new Held(connection.names);
  }

  /** Frames that wait for their answers. */
  get framesInWork(): number {
    return this.inWork.frames;
  }

  /** So many frames are in work now, or, below 0, no longer. */
  work(frames: number, bytes: number): void {
    if (!this.isOver) this.inWork.add(frames, bytes + frames * limits.grpcInboundFrameBytes);
  }

  /** So many frames wait to be taken, or, below 0, no longer. */
  wait(frames: number, bytes: number): void {
    if (!this.isOver) this.outbound.add(frames, bytes + frames * limits.grpcOutboundFrameBytes);
  }

  /** Bytes of names on the call's connection. */
  get nameBytes(): number {
    return this.connection.names.bytes;
  }

  /** So many bytes of names are held now, or, below 0, no longer. */
  name(bytes: number): void {
    if (!this.isOver) this.names.add(0, bytes);
  }

  /** Nothing more should be read: too much is in work. Who has little in work may go on. */
  get isFull(): boolean {
    const { inWork, connection, node } = this;
    if (inWork.bytes > limits.grpcInboundBytes || inWork.frames > limits.grpcInboundFrames)
      return true;
    if (inWork.bytes <= limits.grpcInboundShare) return false;
    return (
      connection.inWork.bytes > limits.grpcInboundBytesConnection ||
      node.inWork.bytes > limits.grpcInboundBytesNode
    );
  }

  /** More waits to be taken than should be given on top. Who takes all may go on. */
  get isCrowded(): boolean {
    const bytes = toBeTaken(this);
    if (bytes > limits.grpcOutboundBytes) return true;
    if (bytes <= limits.grpcOutboundShare) return false;
    return (
      toBeTaken(this.connection) > limits.grpcOutboundBytesConnection ||
      toBeTaken(this.node) > limits.grpcOutboundBytesNode
    );
  }

  /** The call is over: what it holds is let go. */
  end(): void {
    this.isOver = true;
    this.inWork.clear();
    this.outbound.clear();
    this.names.clear();
  }
}

/** What waits to be taken, and the answers to what is in work: of each frame one at least. */
function toBeTaken(of: { readonly inWork: Held; readonly outbound: Held }): number {
  return of.outbound.bytes + of.inWork.frames * limits.grpcOutboundFrameBytes;
}
