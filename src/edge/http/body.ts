/**
 * Reads the bodies of requests. A body that does not come in one piece is gathered in blocks that are
 * used again and again: gathered chunk by chunk, a flood of bodies that never end left three times
 * their bytes to the garbage collector. All blocks together are bounded.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { ByteBudget } from "../../base/byte-budget.ts";
import { QueueError } from "../../base/errors.ts";
import { KiB, limits } from "../../base/limits.ts";

type Done = (error: Error | null, body?: Buffer) => void;

const blockBytes = 64 * KiB;
/** Blocks kept for the next bodies. */
const spareBlocks = 64;

/**
 * Hands JSON bodies to their routes as bytes: those know what the fields are.
 * @param largest - bytes of the largest body that a route takes
 */
export function readBodies(app: FastifyInstance, largest: number): void {
  const blocks = new Blocks(Math.max(limits.httpBodiesBytes, 2 * largest));
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", (request, _stream, done: Done) => {
    new Body(request, blocks, done).read();
  });
}

/** The blocks of all bodies that are coming in. */
class Blocks {
  readonly budget: ByteBudget<Body>;
  private readonly spare: Buffer[] = [];

  constructor(bytesMax: number) {
    this.budget = new ByteBudget(bytesMax);
  }

  take(): Buffer {
    return this.spare.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  }

  giveBack(blocks: readonly Buffer[]): void {
    for (const block of blocks) {
      if (this.spare.length === spareBlocks) return;
      this.spare.push(block);
    }
  }
}

class Body {
  private readonly request: FastifyRequest;
  private readonly pool: Blocks;
  private readonly done: Done;
  private readonly bytesMax: number;
  /** As announced; NaN where it was not. */
  private readonly announced: number;
  /** All but the last are full. */
  private blocks: Buffer[] = [];
  private length = 0;
  private readonly onData = (chunk: Buffer): void => this.take(chunk);
  private readonly onEnd = (): void => this.end();
  private readonly onGone = (): void => this.leave();

  constructor(request: FastifyRequest, pool: Blocks, done: Done) {
    this.request = request;
    this.pool = pool;
    this.done = done;
    this.bytesMax = request.routeOptions.bodyLimit;
    this.announced = Number(request.headers["content-length"]);
  }

  read(): void {
    if (this.announced > this.bytesMax) {
      this.done(this.tooLarge());
      return;
    }
    const { raw } = this.request;
    raw.on("data", this.onData);
    raw.on("end", this.onEnd);
    raw.on("error", this.onGone);
    raw.on("close", this.onGone);
  }

  /** Too much is on its way, and most of it is here. */
  giveUp(): void {
    const text = "too many bytes of requests are on their way";
    this.refuse(new QueueError("overloaded", text, { retryAfterSeconds: 1 }));
  }

  private take(chunk: Buffer): void {
    const from = this.length;
    this.length += chunk.length;
    if (this.length > this.bytesMax) {
      this.refuse(this.tooLarge());
      return;
    }
    if (chunk.length === this.announced) {
      this.blocks.push(Buffer.from(chunk));
      return;
    }
    for (let at = 0; at < chunk.length; ) {
      const used = (from + at) % blockBytes;
      if (used === 0) this.blocks.push(this.pool.take());
      const block = this.blocks[this.blocks.length - 1] as Buffer;
      at += chunk.copy(block, used, at);
    }
    this.pool.budget.hold(this, this.blocks.length * blockBytes);
  }

  private end(): void {
    const { blocks, length } = this;
    const [only] = blocks;
    if (length === this.announced && only?.length === length) {
      this.blocks = [];
      this.leave();
      this.done(null, only);
      return;
    }
    const body = Buffer.concat(blocks, length);
    this.leave();
    this.done(null, body);
  }

  private refuse(error: QueueError): void {
    this.leave();
    this.done(error);
  }

  private tooLarge(): QueueError {
    return new QueueError("payload_too_large", `the body is larger than ${this.bytesMax} bytes`);
  }

  private leave(): void {
    const { raw } = this.request;
    raw.off("data", this.onData);
    raw.off("end", this.onEnd);
    raw.off("error", this.onGone);
    raw.off("close", this.onGone);
    this.pool.budget.hold(this, 0);
    this.pool.giveBack(this.blocks);
    this.blocks = [];
  }
}
