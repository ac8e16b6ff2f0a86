/**
 * Reading and writing of binary formats. Integers are big-endian so that keys sort as numbers
 * do; lengths are varints. A reader never reads past its end: it throws DecodeError.
 */

/** Bytes from outside or from disk that do not have the form they should have. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

/** A growing buffer. `finish` hands out the written part without copying it. */
export class ByteWriter {
  buffer: Buffer;
  length = 0;

  constructor(capacity = 256) {
    // Small ones come from Node's pool: a buffer of its own costs about 1 µs and work for the GC.
    this.buffer = Buffer.allocUnsafe(capacity);
  }

  /** Makes room for `more` bytes; call before writing to `buffer` directly. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.buffer.length) return;
    const next = Buffer.allocUnsafe(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(next, 0, 0, this.length);
    this.buffer = next;
  }

  u8(value: number): void {
    this.reserve(1);
    this.buffer[this.length++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.length = this.buffer.writeUInt16BE(value, this.length);
  }

  u32(value: number): void {
    this.reserve(4);
    this.length = this.buffer.writeUInt32BE(value, this.length);
  }

  u48(value: number): void {
    this.reserve(6);
    this.length = this.buffer.writeUIntBE(value, this.length, 6);
  }

  /** An integer below 2^53. */
  u64(value: number): void {
    this.reserve(8);
    this.buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), this.length);
    this.buffer.writeUInt32BE(value % 0x1_0000_0000, this.length + 4);
    this.length += 8;
  }

  /** LEB128, 1..8 bytes, for integers below 2^53. */
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    while (rest >= 128) {
      this.buffer[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.buffer[this.length++] = rest;
  }

  bytes(value: Uint8Array): void {
    this.reserve(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  /** Length as a varint, then the bytes. */
  sized(value: Uint8Array): void {
    this.varint(value.length);
    this.bytes(value);
  }

  /** A text of single-byte characters, its length as a varint first. */
  latin1(value: string): void {
    this.varint(value.length);
    this.reserve(value.length);
    this.length += this.buffer.write(value, this.length, "latin1");
  }

  /** Length in bytes as a varint, then UTF-8. */
  utf8(value: string): void {
    const size = Buffer.byteLength(value);
    this.varint(size);
    this.reserve(size);
    this.length += this.buffer.write(value, this.length, "utf8");
  }

  /** The bytes written so far. The writer must not be used afterwards. */
  finish(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /** A copy of the bytes written so far; the writer can be reset and used again. */
  copy(): Buffer {
    return Buffer.from(this.buffer.subarray(0, this.length));
  }

  reset(): void {
    this.length = 0;
  }
}

export class ByteReader {
  readonly buffer: Buffer;
  at: number;
  readonly end: number;

  constructor(buffer: Buffer, at = 0, end = buffer.length) {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  private take(size: number): number {
    const from = this.at;
    if (size < 0 || from + size > this.end) {
      throw new DecodeError(`${size} bytes wanted at ${from}, ${this.end - from} left`);
    }
    this.at = from + size;
    return from;
  }

  u8(): number {
    return this.buffer[this.take(1)] as number;
  }

  u16(): number {
    return this.buffer.readUInt16BE(this.take(2));
  }

  u32(): number {
    return this.buffer.readUInt32BE(this.take(4));
  }

  u48(): number {
    return this.buffer.readUIntBE(this.take(6), 6);
  }

  u64(): number {
    const from = this.take(8);
    const value =
      this.buffer.readUInt32BE(from) * 0x1_0000_0000 + this.buffer.readUInt32BE(from + 4);
    if (!Number.isSafeInteger(value)) throw new DecodeError(`integer over 2^53 at ${from}`);
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 128;
    }
    throw new DecodeError(`varint too long at ${this.at}`);
  }

  /** A view of the next bytes; it shares memory with the buffer. */
  bytes(size: number): Buffer {
    const from = this.take(size);
    return this.buffer.subarray(from, from + size);
  }

  sized(): Buffer {
    return this.bytes(this.varint());
  }

  latin1(): string {
    const size = this.varint();
    const from = this.take(size);
    return this.buffer.toString("latin1", from, from + size);
  }

  utf8(): string {
    const size = this.varint();
    const from = this.take(size);
    return this.buffer.toString("utf8", from, from + size);
  }

  skip(size: number): void {
    this.take(size);
  }
}
