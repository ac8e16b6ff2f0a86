/**
 * Puts the messages of one call together from what its connection brings (gRPC over HTTP/2, "Length-
 * Prefixed-Message": a flag, a length of four bytes, the message). In place of grpc-js's own decoder,
 * which keeps every piece as it came and knows no bound but that of one message: a hundred unfinished
 * messages of 8 MiB took 800 MB, one in pieces of a byte 500 MB.
 *
 * States: between messages ⇄ within one (bytes are gathered) → over.
 */
import { type BlockPool, Gatherer } from "../../base/gather.ts";
import { limits } from "../../base/limits.ts";

const headBytes = 5;
/** Messages of one piece that are handed out; grpc-js reads all of them before any is wanted. */
const messagesAtOnce = 16;

/** Hears of what a call gathers. */
export interface Gathering {
  /** The call holds so many bytes of an unfinished message now; 0 = none. May end the call. */
  holds(assembler: MessageAssembler, bytes: number): void;
}

/** What the assembler needs of its call. */
export interface AssembledCall {
  /** Stops and goes on to take data off the connection. */
  pause(): void;
  resume(): void;
  /** Puts data back, to be taken again before what follows; only while it is paused. */
  putBack(piece: Buffer): void;
  /** Ends the call with RESOURCE_EXHAUSTED. */
  exhaust(details: string): void;
}

export class MessageAssembler {
  private readonly call: AssembledCall;
  private readonly gathering: Gathering;
  private readonly gatherer: Gatherer;
  private readonly head = Buffer.alloc(headBytes);
  private headLength = 0;
  /** Of the message within which it is, with its head. */
  private size = 0;
  /** The first message names the client and is short; nobody is known before. */
  private bytesMax: number = limits.grpcFirstMessageBytes;
  private isOver = false;

  constructor(call: AssembledCall, gathering: Gathering, pool: BlockPool) {
    this.call = call;
    this.gathering = gathering;
    this.gatherer = new Gatherer(pool);
  }

  /**
   * Takes a piece.
   * @returns the messages that end in it, the first few, with their heads, each in a buffer of its own
   * @throws Error for a message that is too long: its text is what the call ends with
   */
  write(piece: Buffer): Buffer[] {
    const messages: Buffer[] = [];
    for (let at = 0; at < piece.length && !this.isOver; ) {
      if (messages.length === messagesAtOnce) {
        this.call.pause();
        this.call.putBack(piece.subarray(at));
        break;
      }
      const message = this.headLength === 0 ? this.whole(piece, at) : null;
      if (message !== null) {
        messages.push(message);
        at += message.length;
        continue;
      }
      at = this.gather(piece, at);
      if (this.size > 0 && this.gatherer.length === this.size) messages.push(this.finish());
    }
    if (this.gatherer.length > 0) this.gathering.holds(this, this.gatherer.heldBytes);
    return messages;
  }

  /** The message that begins at `at`, if all of it is there. */
  private whole(piece: Buffer, at: number): Buffer | null {
    if (piece.length - at < headBytes) return null;
    const size = this.checked(piece.readUInt32BE(at + 1));
    if (piece.length - at < size) return null;
    this.bytesMax = limits.grpcMessageBytes;
    return Buffer.from(piece.subarray(at, at + size));
  }

  /** @returns the place behind what was taken */
  private gather(piece: Buffer, from: number): number {
    let at = from;
    if (this.headLength < headBytes) {
      const count = piece.copy(this.head, this.headLength, at);
      this.headLength += count;
      at += count;
      if (this.headLength < headBytes) return at;
      this.size = this.checked(this.head.readUInt32BE(1));
      this.gatherer.add(this.head, 0, headBytes);
    }
    const to = Math.min(piece.length, at + this.size - this.gatherer.length);
    this.gatherer.add(piece, at, to);
    return to;
  }

  private checked(length: number): number {
    if (length <= this.bytesMax) return headBytes + length;
    throw new Error(`Received message larger than max (${length} vs ${this.bytesMax})`);
  }

  private finish(): Buffer {
    const message = this.gatherer.finish();
    this.bytesMax = limits.grpcMessageBytes;
    this.reset();
    return message;
  }

  private reset(): void {
    this.headLength = 0;
    this.size = 0;
    this.gathering.holds(this, 0);
  }

  pause(): void {
    this.call.pause();
  }

  resume(): void {
    this.call.resume();
  }

  /** Too much is on its way to the node, most of it on this connection. */
  giveUp(): void {
    this.drop();
    this.call.exhaust("too many bytes of messages are on their way");
  }

  /** The call is over. */
  drop(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.gatherer.drop();
    this.reset();
  }
}
