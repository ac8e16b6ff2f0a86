/**
 * Reads the bodies of requests. Those that do not come in one piece are bounded, all together: a
 * flood of bodies that never end would take any amount of memory.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { ByteBudget } from "../../base/byte-budget.ts";
import { QueueError } from "../../base/errors.ts";
import { BlockPool, Gatherer } from "../../base/gather.ts";
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
  const shared: Shared = {
    pool: new BlockPool(blockBytes, spareBlocks),
    budget: new ByteBudget(Math.max(limits.httpBodiesBytes, 2 * largest)),
  };
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", (request, _stream, done: Done) => {
    new Body(request, shared, done).read();
  });
}

/** What all bodies have in common. */
interface Shared {
  readonly pool: BlockPool;
  readonly budget: ByteBudget<Body>;
}

class Body {
  private readonly request: FastifyRequest;
  private readonly budget: ByteBudget<Body>;
  private readonly done: Done;
  private readonly bytesMax: number;
  /** As announced; NaN where it was not. */
  private readonly announced: number;
  private readonly gatherer: Gatherer;
  /** The body, if it came in one piece. */
  private only: Buffer | null = null;
  private readonly onData = (chunk: Buffer): void => this.take(chunk);
  private readonly onEnd = (): void => this.end();
  private readonly onGone = (): void => this.leave();

  constructor(request: FastifyRequest, { pool, budget }: Shared, done: Done) {
    this.request = request;
    this.budget = budget;
    this.gatherer = new Gatherer(pool);
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
    const { gatherer } = this;
    if (gatherer.length + chunk.length > this.bytesMax) {
      this.refuse(this.tooLarge());
    } else if (chunk.length === this.announced) {
      this.only = Buffer.from(chunk);
    } else {
      gatherer.add(chunk, 0, chunk.length);
      this.budget.hold(this, gatherer.heldBytes);
    }
  }

  private end(): void {
    const body = this.only ?? this.gatherer.finish();
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
    this.gatherer.drop();
    this.budget.hold(this, 0);
  }
}
