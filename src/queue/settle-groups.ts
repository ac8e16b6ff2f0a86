/** Settle groups (layout in command.ts): written by the router, read by apply. */
import { ByteWriter, DecodeError } from "../base/bytes.ts";
import { runKeyLength, taskIdVersion } from "../base/task-id.ts";
import { settleOps } from "./command.ts";

/** Appends items; those that follow each other with one operation, run and token share a group. */
export class SettleGroupWriter {
  private readonly out = new ByteWriter(1024);
  private readonly items = new ByteWriter(1024);
  private readonly key = Buffer.alloc(16);
  private op = 0;
  private keyLength = 0;
  private token = 0;
  private groupCount = 0;
  count = 0;

  get bytes(): number {
    return this.out.length + this.items.length + 64;
  }

  /** @param id - 16 bytes at id[at..]; the caller has checked version and shard */
  private begin(op: number, id: Uint8Array, at: number, token: number): void {
    const length = runKeyLength(id, at);
    if (!this.continues(op, id, at, token, length)) {
      this.flush();
      this.op = op;
      this.token = token;
      this.keyLength = length;
      for (let i = 0; i < length; i++) this.key[i] = id[at + i] as number;
    }
    this.groupCount++;
    this.count++;
    this.items.u8(taskIdVersion(id, at) === 8 ? 0 : (id[at + 14] as number));
  }

  private continues(
    op: number,
    id: Uint8Array,
    at: number,
    token: number,
    length: number,
  ): boolean {
    if (this.groupCount === 0 || this.groupCount === 256) return false;
    if (op !== this.op || token !== this.token || length !== this.keyLength) return false;
    for (let i = length - 1; i >= 0; i--) if (this.key[i] !== id[at + i]) return false;
    return true;
  }

  private flush(): void {
    if (this.groupCount === 0) return;
    const { out, items } = this;
    out.u8(this.op);
    out.u8(this.keyLength);
    out.bytes(this.key.subarray(0, this.keyLength));
    out.varint(this.token);
    out.varint(this.groupCount);
    out.varint(items.length);
    out.bytes(items.buffer.subarray(0, items.length));
    items.reset();
    this.groupCount = 0;
  }

  complete(id: Uint8Array, at: number, token: number, result: Uint8Array | null): void {
    this.begin(settleOps.complete, id, at, token);
    this.result(result);
  }

  private result(result: Uint8Array | null): void {
    this.items.varint(result ? result.length + 1 : 0);
    if (result) this.items.bytes(result);
  }

  fail(
    id: Uint8Array,
    at: number,
    token: number,
    error: Uint8Array,
    result: Uint8Array | null,
  ): void {
    this.begin(settleOps.fail, id, at, token);
    this.items.sized(error);
    this.result(result);
  }

  /** @param delayMs - -1 = by the backoff policy */
  nack(id: Uint8Array, at: number, token: number, delayMs: number, reason: Uint8Array): void {
    this.begin(settleOps.nack, id, at, token);
    this.items.varint(delayMs + 1);
    this.items.sized(reason);
  }

  abandon(id: Uint8Array, at: number, token: number): void {
    this.begin(settleOps.abandon, id, at, token);
  }

  release(id: Uint8Array, at: number, token: number): void {
    this.begin(settleOps.release, id, at, token);
  }

  heartbeat(id: Uint8Array, at: number, token: number, extendMs: number): void {
    this.begin(settleOps.heartbeat, id, at, token);
    this.items.varint(extendMs);
  }

  /** The groups. The writer must not be used afterwards. */
  finish(): Buffer {
    this.flush();
    return this.out.finish();
  }
}

/** Walks groups and their items; its fields describe the current one. */
export class SettleGroupReader {
  readonly bytes: Buffer;
  private groupAt = 0;
  private at = 0;
  private end = 0;
  private keyFrom = 0;
  private keyTo = 0;
  op = 0;
  token = 0;
  count = 0;
  /** Items of the group as they lie in the command. */
  itemsFrom = 0;
  place = 0;
  /** -1 where the item has none. */
  resultFrom = -1;
  resultTo = -1;
  errorFrom = -1;
  errorTo = -1;
  /** nack: -1 = by policy; heartbeat: the extension. */
  ms = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Moves to the next group; false after the last. @throws DecodeError */
  nextGroup(): boolean {
    if (this.groupAt >= this.bytes.length) return false;
    this.at = this.groupAt;
    this.end = this.bytes.length;
    this.op = this.u8();
    const keyLength = this.u8();
    this.keyFrom = this.at;
    this.at += keyLength;
    this.keyTo = this.at;
    this.token = this.varint();
    this.count = this.varint();
    const size = this.varint();
    this.itemsFrom = this.at;
    this.end = this.at + size;
    this.groupAt = this.end;
    if (this.end > this.bytes.length) throw new DecodeError("settle group");
    return true;
  }

  /** Run key as a latin1 string, made anew each time. */
  get key(): string {
    return this.bytes.toString("latin1", this.keyFrom, this.keyTo);
  }

  /** The group as a result row (see readResultRow). */
  resultRow(): Buffer {
    const row = Buffer.allocUnsafe(1 + this.end - this.itemsFrom);
    row[0] = this.op;
    this.bytes.copy(row, 1, this.itemsFrom, this.end);
    return row;
  }

  /** Opens a result row instead of a group. */
  openRow(): void {
    this.at = 0;
    this.end = this.bytes.length;
    this.op = this.u8();
  }

  /** Moves to the next item of the group; call `count` times at most. */
  nextItem(): void {
    this.place = this.u8();
    this.resultFrom = -1;
    this.errorFrom = -1;
    switch (this.op) {
      case settleOps.complete:
        this.readResult();
        return;
      case settleOps.fail:
        this.readError();
        this.readResult();
        return;
      case settleOps.nack:
        this.ms = this.varint() - 1;
        this.readError();
        return;
      case settleOps.heartbeat:
        this.ms = this.varint();
        return;
      case settleOps.abandon:
      case settleOps.release:
        return;
      default:
        throw new DecodeError(`settle operation ${this.op}`);
    }
  }

  private readResult(): void {
    const size = this.varint();
    if (size === 0) return;
    this.resultFrom = this.at;
    this.resultTo = this.moveBy(size - 1);
  }

  private readError(): void {
    const size = this.varint();
    this.errorFrom = this.at;
    this.errorTo = this.moveBy(size);
  }

  private moveBy(size: number): number {
    this.at += size;
    if (this.at > this.end) throw new DecodeError("settle group ends early");
    return this.at;
  }

  private u8(): number {
    if (this.at >= this.end) throw new DecodeError("settle group ends early");
    return this.bytes[this.at++] as number;
  }

  private varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    throw new DecodeError("settle group: varint");
  }
}

/**
 * A result row: op u8, then the items of one settle group as they were logged.
 * @returns the result and error of item `index`
 */
export function readResultRow(
  row: Buffer,
  index: number,
): { readonly op: number; readonly result: Buffer | null; readonly error: Buffer | null } {
  const reader = new SettleGroupReader(row);
  reader.openRow();
  for (let i = 0; i <= index; i++) reader.nextItem();
  const { op } = reader;
  return {
    op,
    result: reader.resultFrom < 0 ? null : row.subarray(reader.resultFrom, reader.resultTo),
    error: reader.errorFrom < 0 ? null : row.subarray(reader.errorFrom, reader.errorTo),
  };
}
