/**
 * Reads request bodies: JSON (RFC 8259), more strictly than JSON.parse and in one pass over the
 * bytes. Refused with the path of the place: broken UTF-8, a byte order mark, nesting deeper than
 * 64, a key twice in one object, the keys by which prototypes are reached, numbers that no double
 * holds; and −0 and integers beyond 2^53 where a field wants a number.
 *
 * Payloads and results are not parsed: they are checked, and then given as the slice of the body
 * that the client sent, so that nothing is lost or written anew.
 *
 * The cost stays in proportion to the body whatever it holds: unknown fields are walked over, not
 * built, and keys are compared by seeded hashes (measured: 2 to 11 ms per MiB).
 */
import { isUtf8 } from "node:buffer";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import {
  closeBrace,
  closeBracket,
  JsonScanner,
  minus,
  nine,
  openBrace,
  openBracket,
  quote,
  zero,
} from "./json-scanner.ts";

/** A JSON text inside a larger buffer: bytes[from..to). */
export interface RawJson {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

export interface BodyShape {
  /** Fields that are built, of the body and of the items of its lists. */
  readonly fields: ReadonlySet<string>;
  /** The field whose value is given as RawJson, or null. */
  readonly rawField: string | null;
  /** Other fields: false = left out; true = present with the value null, for the schema to refuse. */
  readonly keepUnknown: boolean;
}

/** Stands for a list or an object where no field has one: every schema refuses it. */
const notBuilt: unknown = Object.freeze({});

const noShape: BodyShape = { fields: new Set(), rawField: null, keepUnknown: false };
const surrogate = /\p{Surrogate}/u;

/** One reader serves one thread: `parse` and `isJson` use its fields while they run. */
export class JsonReader extends JsonScanner {
  private shape: BodyShape = noShape;

  /**
   * The body as an object: texts, numbers, booleans and null; lists of these or of such objects;
   * RawJson for the raw field.
   * @throws QueueError invalid_argument, with the field's path where there is one
   */
  parse(bytes: Buffer, shape: BodyShape): Record<string, unknown> {
    if (!isUtf8(bytes)) throw new QueueError("invalid_argument", "the body is not valid UTF-8");
    this.start(bytes, 0, bytes.length, true);
    this.shape = shape;
    try {
      this.space();
      if (this.peek() !== openBrace) this.refuse("the body must be a JSON object");
      const body = this.buildObject();
      this.space();
      if (this.at < this.end) this.unexpected();
      return body;
    } finally {
      this.stop();
    }
  }

  /** Whether bytes[from..to) is one JSON value, by the plain rules of RFC 8259. */
  isJson(bytes: Buffer, from: number, to: number): boolean {
    this.start(bytes, from, to, false);
    try {
      this.space();
      this.skip();
      this.space();
      if (this.at < this.end) return false;
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      // Deeper than this reader goes: the built-in parser decides.
      return this.depth > this.depthMax && parses(bytes, from, to);
    } finally {
      this.stop();
    }
    return isUtf8(bytes.subarray(from, to));
  }

  private buildObject(): Record<string, unknown> {
    const built: Record<string, unknown> = {};
    let count = 0;
    this.enter();
    if (this.next() === closeBrace) return this.leave(built);
    for (;;) {
      const name = this.fieldName();
      if (Object.hasOwn(built, name)) this.refuse("appears twice");
      if (++count > limits.bodyFields) this.refuse(`is one field too many (${limits.bodyFields})`);
      this.space();
      if (!this.shape.fields.has(name)) {
        this.skipField();
        if (this.shape.keepUnknown) built[name] = null;
      } else if (name === this.shape.rawField) {
        built[name] = this.raw();
      } else {
        built[name] = this.buildValue();
      }
      if (this.separator(closeBrace)) return this.leave(built);
    }
  }

  private buildValue(): unknown {
    const byte = this.peek();
    if (byte === quote) return this.text();
    if (byte === minus || (byte >= zero && byte <= nine)) return this.number();
    // Lists stand in the body itself, objects in those lists; nothing else is ever wanted.
    if (byte === openBracket && this.depth === 1) return this.buildList();
    if (byte === openBrace && this.depth === 2 && this.pathFrom[2] === -1)
      return this.buildObject();
    const from = this.at;
    this.skip();
    if (byte === openBrace || byte === openBracket) return notBuilt;
    return byte === 110 ? null : this.bytes[from] === 116;
  }

  private buildList(): unknown[] {
    const built: unknown[] = [];
    this.enter();
    if (this.next() === closeBracket) return this.leave(built);
    for (;;) {
      this.pathFrom[this.depth] = -1;
      this.pathTo[this.depth] = built.length;
      this.space();
      if (built.length === limits.batchItems) {
        this.depth--;
        this.refuse(`must have at most ${limits.batchItems} items`);
      }
      built.push(this.buildValue());
      if (this.separator(closeBracket)) return this.leave(built);
    }
  }

  private raw(): RawJson {
    const { bytes, at: from, depthMax } = this;
    this.depthMax = this.depth + limits.jsonDepth;
    this.skip();
    this.depthMax = depthMax;
    return { bytes, from, to: this.at };
  }

  private skipField(): void {
    const { depthMax } = this;
    this.depthMax = this.depth + limits.jsonDepth;
    this.skip();
    this.depthMax = depthMax;
  }

  /** The key at this place as a text; `at` is then behind its colon. */
  private fieldName(): string {
    this.readKey();
    if (this.key.equals(this.protoHash) || this.key.equals(this.constructorHash)) {
      this.refuse("is not allowed as a key");
    }
    const from = this.pathFrom[this.depth] as number;
    return this.decode(from, this.pathTo[this.depth] as number, this.key.isEscaped);
  }

  private text(): string {
    const from = this.at + 1;
    const isEscaped = this.skipString();
    return this.decode(from, this.at - 1, isEscaped);
  }

  private decode(from: number, to: number, isEscaped: boolean): string {
    if (!isEscaped) return this.bytes.toString("utf8", from, to);
    const text = JSON.parse(this.bytes.toString("utf8", from - 1, to + 1)) as string;
    if (surrogate.test(text)) this.refuse("holds half a surrogate pair, which is no character");
    return text;
  }

  private number(): number {
    const from = this.at;
    this.skipNumber();
    const value = Number(this.bytes.toString("latin1", from, this.at));
    if (Object.is(value, -0)) this.refuse("must not be -0");
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) this.refuse("is beyond 2^53");
    return value;
  }
}

function parses(bytes: Buffer, from: number, to: number): boolean {
  try {
    JSON.parse(bytes.toString("utf8", from, to));
    return isUtf8(bytes.subarray(from, to));
  } catch {
    // Not JSON: that is the answer.
    return false;
  }
}
