/**
 * Walks over JSON (RFC 8259) in a buffer and checks it, without building anything. What it refuses
 * beyond the grammar is told in json-reader.ts, which builds on it.
 */
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { hashText, KeyHash, KeySet } from "./json-keys.ts";

export const quote = 34;
export const openBrace = 123;
export const closeBrace = 125;
export const openBracket = 91;
export const closeBracket = 93;
export const minus = 45;
export const zero = 48;
export const nine = 57;
const backslash = 92;
const comma = 44;
const colon = 58;

const noBytes = Buffer.alloc(0);

/** The walk and its place. One scanner is used by one call at a time. */
export class JsonScanner {
  protected bytes: Buffer = noBytes;
  protected at = 0;
  protected end = 0;
  /** Levels entered, and how many there may be. */
  protected depth = 0;
  protected depthMax: number = limits.jsonDepth;
  /** Per depth: the key's bytes, or -1 and the place in a list. For the path in errors. */
  protected readonly pathFrom = new Int32Array(2 * limits.jsonDepth + 2);
  protected readonly pathTo = new Int32Array(2 * limits.jsonDepth + 2);
  protected readonly key = new KeyHash();
  protected readonly protoHash: KeyHash;
  protected readonly constructorHash: KeyHash;
  private readonly prototypeHash: KeyHash;
  private readonly keys = new KeySet();
  private readonly seed: number;
  private isStrict = true;

  /** @param seed - any 32 bits, unknown to clients: makes the hashes of keys unpredictable */
  constructor(seed: number) {
    this.seed = seed | 0;
    this.protoHash = hashText("__proto__", this.seed);
    this.constructorHash = hashText("constructor", this.seed);
    this.prototypeHash = hashText("prototype", this.seed);
  }

  /** @param isStrict - also refuse what the grammar allows and we do not */
  protected start(bytes: Buffer, from: number, to: number, isStrict: boolean): void {
    this.bytes = bytes;
    this.at = from;
    this.end = to;
    this.isStrict = isStrict;
    this.depth = 0;
    this.depthMax = limits.jsonDepth;
    this.keys.reset();
  }

  /** Lets go of the bytes. */
  protected stop(): void {
    this.bytes = noBytes;
  }

  protected skip(): void {
    switch (this.peek()) {
      case openBrace:
        this.skipObject();
        break;
      case openBracket:
        this.skipList();
        break;
      case quote:
        this.skipString();
        break;
      case 116:
        this.word("true");
        break;
      case 102:
        this.word("false");
        break;
      case 110:
        this.word("null");
        break;
      default:
        this.skipNumber();
    }
  }

  private skipObject(): void {
    const isConstructor =
      this.isStrict &&
      this.depth > 0 &&
      this.pathFrom[this.depth] !== -1 &&
      this.isConstructorKey();
    const base = this.keys.open();
    this.enter();
    if (this.next() !== closeBrace) {
      do {
        this.readKey();
        if (this.isStrict) this.checkKey(base, isConstructor);
        this.space();
        this.skip();
      } while (!this.separator(closeBrace));
    }
    this.leave(null);
    this.keys.close(base);
  }

  /** Whether the value that starts here belongs to a key `constructor`. */
  private isConstructorKey(): boolean {
    return this.key.equals(this.constructorHash);
  }

  private checkKey(base: number, isInConstructor: boolean): void {
    if (this.key.equals(this.protoHash)) this.refuse("is not allowed as a key");
    if (isInConstructor && this.key.equals(this.prototypeHash)) {
      this.refuse("is not allowed as a key here");
    }
    if (!this.keys.add(base, this.key)) this.refuse("appears twice");
  }

  private skipList(): void {
    this.enter();
    const { depth } = this;
    this.pathFrom[depth] = -1;
    this.pathTo[depth] = 0;
    if (this.next() !== closeBracket) {
      for (let place = 1; ; place++) {
        this.skip();
        if (this.separator(closeBracket)) break;
        this.pathTo[depth] = place;
        this.space();
      }
    }
    this.leave(null);
  }

  /** @returns whether it holds an escape; `at` is then behind the closing quote */
  protected skipString(): boolean {
    const { bytes, end } = this;
    let at = this.at + 1;
    let isEscaped = false;
    for (;;) {
      const byte = at < end ? (bytes[at] as number) : -1;
      if (byte === quote) break;
      if (byte < 32) this.unexpected(at);
      if (byte === backslash) {
        isEscaped = true;
        at = this.escapeEnd(at);
      } else {
        at++;
      }
    }
    this.at = at + 1;
    return isEscaped;
  }

  /** The place behind the escape that starts at `at`. */
  private escapeEnd(at: number): number {
    const byte = at + 1 < this.end ? (this.bytes[at + 1] as number) : -1;
    if (byte !== 117) {
      // " \ / b f n r t
      const isKnown =
        byte === quote || byte === backslash || byte === 47 || byte === 98 || byte === 102;
      if (isKnown || byte === 110 || byte === 114 || byte === 116) return at + 2;
      this.unexpected(at + 1);
    }
    for (let i = at + 2; i < at + 6; i++) {
      if (i >= this.end || hexValue(this.bytes[i] as number) < 0) this.unexpected(i);
    }
    return at + 6;
  }

  /** Reads a key and its colon; `key` then holds its hash and the path its place. */
  protected readKey(): void {
    this.space();
    if (this.peek() !== quote) this.unexpected();
    const from = this.at + 1;
    const isEscaped = this.skipString();
    const to = this.at - 1;
    this.key.read(this.bytes, from, to, this.seed, isEscaped);
    this.pathFrom[this.depth] = from;
    this.pathTo[this.depth] = to;
    this.space();
    if (this.peek() !== colon) this.unexpected();
    this.at++;
  }

  protected skipNumber(): void {
    const from = this.at;
    if (this.isSmallInteger()) return;
    if (this.peek() === minus) this.at++;
    // Decimal places before the point, or more: below 309 every number is finite.
    let places = 1;
    if (this.peek() === zero) this.at++;
    else places = this.digits();
    if (this.peek() === 46) {
      this.at++;
      this.digits();
    }
    if (this.peek() === 101 || this.peek() === 69) {
      this.at++;
      const isNegative = this.peek() === minus;
      if (isNegative || this.peek() === 43) this.at++;
      const digits = this.digits();
      if (!isNegative) places += this.exponent(digits);
    }
    if (places < 309 || !this.isStrict) return;
    const value = Number(this.bytes.toString("latin1", from, this.at));
    if (!Number.isFinite(value)) this.refuse("is a number too large for any reader");
  }

  /** Walks over a number of one digit in a list: a body can hold half a million of them. */
  private isSmallInteger(): boolean {
    const { bytes, at } = this;
    if (at + 1 >= this.end) return false;
    const digit = bytes[at] as number;
    const next = bytes[at + 1] as number;
    if (digit < zero || digit > nine || (next !== comma && next !== closeBracket)) return false;
    this.at = at + 1;
    return true;
  }

  /** The value of the last `digits` digits, or some number above 308. */
  private exponent(digits: number): number {
    let value = 0;
    for (let i = this.at - digits; i < this.at && value < 309; i++) {
      value = value * 10 + (this.bytes[i] as number) - zero;
    }
    return value;
  }

  /** @returns how many there are, at least one */
  private digits(): number {
    const from = this.at;
    const { bytes, end } = this;
    let at = from;
    while (at < end && (bytes[at] as number) >= zero && (bytes[at] as number) <= nine) at++;
    this.at = at;
    if (at === from) this.unexpected();
    return at - from;
  }

  private word(word: string): void {
    for (let i = 0; i < word.length; i++) {
      if (this.peek() !== word.charCodeAt(i)) this.unexpected();
      this.at++;
    }
  }

  // Small steps.

  protected peek(): number {
    return this.at < this.end ? (this.bytes[this.at] as number) : -1;
  }

  protected space(): void {
    const { bytes, end } = this;
    let at = this.at;
    while (at < end) {
      const byte = bytes[at] as number;
      if (byte !== 32 && byte !== 10 && byte !== 13 && byte !== 9) break;
      at++;
    }
    this.at = at;
  }

  protected next(): number {
    this.space();
    return this.peek();
  }

  protected enter(): void {
    this.at++;
    this.depth++;
    if (this.depth > this.depthMax) this.refuseDepth();
  }

  protected leave<T>(built: T): T {
    this.at++;
    this.depth--;
    return built;
  }

  /** Takes a comma, or stops before the closing bracket. @returns whether it is the end */
  protected separator(close: number): boolean {
    let byte = this.peek();
    if (byte !== comma && byte !== close) byte = this.next();
    if (byte === close) return true;
    if (byte !== comma) this.unexpected();
    this.at++;
    return false;
  }

  // Refusals.

  protected unexpected(at = this.at): never {
    const what = at < this.end ? `unexpected character at byte ${at}` : "it ends too early";
    throw new QueueError("invalid_argument", `the body is not JSON: ${what}`);
  }

  private refuseDepth(): never {
    const text = `the body is nested deeper than ${limits.jsonDepth} levels`;
    throw new QueueError("invalid_argument", text, { field: this.path(1) });
  }

  protected refuse(rule: string): never {
    const field = this.path(this.depth);
    if (field === "") throw new QueueError("invalid_argument", rule);
    throw new QueueError("invalid_argument", `${field} ${rule}`, { field });
  }

  /** `tasks[3].payload.a`, cut at 200 characters: the keys are the client's. */
  protected path(depth: number): string {
    let path = "";
    for (let i = 1; i <= depth && path.length < 200; i++) {
      const from = this.pathFrom[i] as number;
      const to = this.pathTo[i] as number;
      if (from < 0) path += `[${to}]`;
      else
        path += (i === 1 ? "" : ".") + this.bytes.toString("utf8", from, Math.min(to, from + 200));
    }
    return path;
  }
}

function hexValue(byte: number): number {
  if (byte >= zero && byte <= nine) return byte - zero;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
