/**
 * Frames as bytes on a connection, the handshake's too.
 *
 *   u32 group · u32 length of what follows · u8 type · u32 CRC32C · body      (big-endian)
 *
 * The checksum is over the first nine bytes and the body, so that no flipped bit takes a frame to
 * another shard. A group is a shard's number or nodeGroup.
 */
import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { limits } from "../base/limits.ts";
import { nodeGroup } from "./transport.ts";

/** Bytes in front of a body. */
export const frameHeadBytes = 13;

/** Bytes of the head that the checksum covers, and that its length counts. */
const coveredBytes = 9;
const countedBytes = 5;

/** Parts up to this size are copied together: below it a system call's vector costs more. */
const copiedBytes = 4096;
const slabBytes = 16 * 1024;

/** The first memory for a body that comes in pieces; it doubles as they come. */
const firstBytes = 64 * 1024;

export type FrameFault = "group" | "length" | "checksum";

/** @returns false to have nothing more decoded */
export type FrameSink = (group: number, type: number, body: Buffer) => boolean;

/**
 * Takes the bytes of one connection as they come and gives whole frames. A length is compared
 * before memory is taken for it, and memory grows only as bytes arrive.
 */
export class FrameDecoder {
  /** Longest body that is taken: small until the peer has proven who it is. */
  bodyBytesMax: number;
  private readonly sink: FrameSink;
  private readonly head = Buffer.alloc(frameHeadBytes);
  /** Bytes of the head that have come, where a chunk ended in the middle of it. */
  private headBytes = 0;
  /** The body of which the head has come. Invariant: bodyBytes ≤ body.length ≤ wantedBytes. */
  private body: Buffer | null = null;
  private bodyBytes = 0;
  private wantedBytes = 0;
  private isOver = false;

  constructor(bodyBytesMax: number, sink: FrameSink) {
    this.bodyBytesMax = bodyBytesMax;
    this.sink = sink;
  }

  /** @returns what is wrong with the bytes; nothing is decoded from then on */
  push(chunk: Buffer): FrameFault | null {
    let at = 0;
    while (at < chunk.length && !this.isOver) {
      if (this.body !== null) {
        at += this.grow(chunk, at);
        if (this.bodyBytes < this.wantedBytes) break;
        const { head, body } = this;
        this.body = null;
        if (!this.give(head, 0, body, 0, body.length)) return this.end("checksum");
        continue;
      }
      if (this.headBytes > 0 || chunk.length - at < frameHeadBytes) {
        const taken = chunk.copy(this.head, this.headBytes, at);
        this.headBytes += taken;
        at += taken;
        const fault = this.check(this.head, 0, this.headBytes);
        if (fault !== null) return this.end(fault);
        if (this.headBytes < frameHeadBytes) break;
        this.headBytes = 0;
        if (!this.begin(0)) return this.end("checksum");
        continue;
      }
      const fault = this.check(chunk, at, frameHeadBytes);
      if (fault !== null) return this.end(fault);
      const from = at + frameHeadBytes;
      const to = from + chunk.readUInt32BE(at + 4) - countedBytes;
      if (to <= chunk.length) {
        if (!this.give(chunk, at, chunk, from, to)) return this.end("checksum");
        at = to;
      } else {
        chunk.copy(this.head, 0, at, from);
        this.begin(chunk.length - from);
        at = from;
      }
    }
    return null;
  }

  private end(fault: FrameFault): FrameFault {
    this.isOver = true;
    this.body = null;
    return fault;
  }

  /** Group and length, as far as they have come. */
  private check(bytes: Buffer, at: number, count: number): FrameFault | null {
    if (count < 4) return null;
    const group = bytes.readUInt32BE(at);
    if (group > 255 && group !== nodeGroup) return "group";
    if (count < 8) return null;
    const length = bytes.readUInt32BE(at + 4);
    return length < countedBytes || length - countedBytes > this.bodyBytesMax ? "length" : null;
  }

  /**
   * The head is there; the body comes in pieces, `arrived` bytes of it at once.
   * @returns false if it is empty and does not fit its checksum
   */
  private begin(arrived: number): boolean {
    this.wantedBytes = this.head.readUInt32BE(4) - countedBytes;
    if (this.wantedBytes === 0) return this.give(this.head, 0, this.head, 0, 0);
    this.bodyBytes = 0;
    const room = Math.min(this.wantedBytes, Math.max(firstBytes, arrived));
    this.body = Buffer.allocUnsafeSlow(room);
    return true;
  }

  /** @returns bytes taken */
  private grow(chunk: Buffer, at: number): number {
    let body = this.body as Buffer;
    const taken = Math.min(chunk.length - at, this.wantedBytes - this.bodyBytes);
    const needed = this.bodyBytes + taken;
    if (needed > body.length) {
      const room = Math.min(this.wantedBytes, Math.max(needed, 2 * body.length));
      const larger = Buffer.allocUnsafeSlow(room);
      body.copy(larger, 0, 0, this.bodyBytes);
      this.body = larger;
      body = larger;
    }
    chunk.copy(body, this.bodyBytes, at, at + taken);
    this.bodyBytes = needed;
    return taken;
  }

  /** @returns false if the checksum is wrong */
  private give(head: Buffer, at: number, bytes: Buffer, from: number, to: number): boolean {
    const seed = crc32c(head, at, at + coveredBytes);
    if (crc32c(bytes, from, to, seed) !== head.readUInt32BE(at + coveredBytes)) return false;
    // A view keeps all of the chunk in memory: only where that is at most twice the body.
    const isMost = 2 * (to - from) >= bytes.length;
    const body = isMost ? bytes.subarray(from, to) : Buffer.from(bytes.subarray(from, to));
    const goesOn = this.sink(head.readUInt32BE(at), head[at + 8] as number, body);
    if (!goesOn) this.isOver = true;
    return true;
  }
}

/** Frames that wait to be written to one connection. Small parts are copied together. */
export class FrameBatch {
  /** Bytes that wait. */
  bytes = 0;
  private chunks: Uint8Array[] = [];
  private slab = Buffer.alloc(0);
  /** The part of the slab that is written and not yet among the chunks. */
  private from = 0;
  private to = 0;

  /** @param parts - the body; long ones are not copied and must not change any more */
  add(group: number, type: number, parts: readonly Uint8Array[]): void {
    let length = countedBytes;
    for (const part of parts) length += part.length;
    assert(length <= limits.frameBytes, "length of a frame", length);
    assert(group <= 255 || group === nodeGroup, "group of a frame", group);
    assert(type >= 0 && type <= 255, "type of a frame", type);
    this.reserve(frameHeadBytes);
    const { slab, to } = this;
    slab.writeUInt32BE(group, to);
    slab.writeUInt32BE(length, to + 4);
    slab[to + 8] = type;
    let crc = crc32c(slab, to, to + coveredBytes);
    for (const part of parts) crc = crc32c(part, 0, part.length, crc);
    slab.writeUInt32BE(crc, to + coveredBytes);
    this.to = to + frameHeadBytes;
    for (const part of parts) this.put(part);
    this.bytes += frameHeadBytes - countedBytes + length;
  }

  /** Takes out at least one chunk, and about so many bytes at the most. */
  take(bytesMax: number): readonly Uint8Array[] {
    this.cut();
    let count = 0;
    let taken = 0;
    for (const chunk of this.chunks) {
      if (count > 0 && taken + chunk.length > bytesMax) break;
      taken += chunk.length;
      count++;
    }
    this.bytes -= taken;
    if (count < this.chunks.length) return this.chunks.splice(0, count);
    const all = this.chunks;
    this.chunks = [];
    return all;
  }

  private put(part: Uint8Array): void {
    if (part.length > copiedBytes) {
      this.cut();
      this.chunks.push(part);
    } else if (part.length > 0) {
      this.reserve(part.length);
      this.slab.set(part, this.to);
      this.to += part.length;
    }
  }

  private reserve(bytes: number): void {
    if (this.to + bytes <= this.slab.length) return;
    this.cut();
    // Bytes handed out are never written again: the rest of the old slab is left alone.
    this.slab = Buffer.allocUnsafeSlow(slabBytes);
    this.from = 0;
    this.to = 0;
  }

  private cut(): void {
    if (this.to > this.from) this.chunks.push(this.slab.subarray(this.from, this.to));
    this.from = this.to;
  }
}
