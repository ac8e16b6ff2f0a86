/** A gRPC server on loopback over a scripted router, and clients for it. */
import * as grpc from "@grpc/grpc-js";
import { loadWire, type StreamService } from "../../../src/api/proto.ts";
import type { WireNode } from "../../../src/api/proto-events.ts";
import { type Authenticator, createAuthenticator } from "../../../src/auth/authenticator.ts";
import { sha256OfToken } from "../../../src/auth/token-entries.ts";
import type { LogFields, Logger, TimerHandle, Timers } from "../../../src/base/effects.ts";
import { createGrpcServer, type GrpcServer } from "../../../src/edge/grpc/server.ts";
import { ScriptedRouter } from "./scripted-router.ts";

export const wire = loadWire();

export interface TestServer {
  readonly router: ScriptedRouter;
  readonly server: GrpcServer;
  readonly address: string;
  readonly port: number;
  readonly logged: string[];
  /** The same with their fields. */
  readonly lines: readonly { readonly text: string; readonly fields: LogFields }[];
  /** Replaces the nodes and tells the server. */
  setNodes(nodes: readonly WireNode[]): void;
  /** Moves the clock that the edge sees, and runs its sweep. */
  advance(ms: number): void;
  readonly authenticator: Authenticator;
  stop(): Promise<void>;
}

/** Tokens: "producer", "worker" (all queues), "mail-worker" (queue mail), "claimer" (no settles). */
export function tokens() {
  const entry = (token: string, roles: readonly ("producer" | "worker")[]) => ({
    sha256: sha256OfToken(token),
    subject: `${token}-subject`,
    tenant: "acme",
    roles: [...roles],
    scopes: null as string[] | null,
    queues: null as string[] | null,
  });
  return [
    entry("producer", ["producer"]),
    entry("worker", ["worker"]),
    { ...entry("mail-worker", ["worker"]), queues: ["mail"] },
    { ...entry("claimer", ["worker"]), scopes: ["codeq:claim"] },
    { ...entry("settler", ["worker"]), scopes: ["codeq:result"] },
  ];
}

export async function startServer(): Promise<TestServer> {
  const router = new ScriptedRouter();
  const logged: string[] = [];
  const lines: { readonly text: string; readonly fields: LogFields }[] = [];
  const log = (text: string, fields: LogFields = {}): void => {
    logged.push(text);
    lines.push({ text, fields });
  };
  const logger: Logger = { debug: log, info: log, warn: log, error: log, child: () => logger };
  let offsetMs = 0;
  const sweeps = new Set<() => void>();
  const timers: Timers = {
    after(delayMs, callback): TimerHandle {
      if (delayMs !== 500) {
        const timer = setTimeout(callback, delayMs);
        return { cancel: () => clearTimeout(timer) };
      }
      sweeps.add(callback);
      return { cancel: () => sweeps.delete(callback) };
    },
    soon: (callback) => void setImmediate(callback),
  };
  let nodes: readonly WireNode[] = [
    { id: "n1", grpcAddr: "127.0.0.1:1", httpAddr: "http://127.0.0.1:2", shardsLed: [0] },
  ];
  const listeners = new Set<() => void>();
  const authenticator = createAuthenticator({
    tokens: tokens(),
    open: false,
    producerAsWorker: false,
  });
  const server = createGrpcServer(
    {
      router,
      authenticator,
      logger,
      clock: { monotonicMs: () => performance.now() + offsetMs, wallMs: () => Date.now() },
      timers,
      node: {
        nodeId: "n1",
        nodes: () => nodes,
        onChange: (listener) => {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
      },
    },
    {
      addresses: [{ host: "127.0.0.1", port: 0 }],
      payloadBytes: 1024 * 1024,
      defaultMaxAttempts: 5,
      defaultLeaseMs: 300_000,
      slowMs: 1_000,
    },
  );
  const [address] = await server.listen();
  return {
    router,
    server,
    address: String(address),
    port: Number(String(address).split(":")[1]),
    logged,
    lines,
    authenticator,
    setNodes(next) {
      nodes = next;
      for (const listener of listeners) listener();
    },
    advance(ms) {
      offsetMs += ms;
      for (const sweep of [...sweeps]) {
        sweeps.delete(sweep);
        sweep();
      }
    },
    stop: () => server.close(),
  };
}

export interface StreamEnd {
  readonly code: number;
  readonly details: string;
}

/** A client's stream: events are awaited one by one. */
export class TestStream<ServerEvent> {
  readonly call: grpc.ClientDuplexStream<Buffer, ServerEvent>;
  readonly events: ServerEvent[] = [];
  readonly ended: Promise<StreamEnd>;
  private readonly client: grpc.Client;
  private waiting: (() => void)[] = [];
  isEnded = false;

  constructor(
    address: string,
    service: StreamService<unknown, ServerEvent>,
    metadata?: grpc.Metadata,
  ) {
    this.client = new grpc.Client(address, grpc.credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_retries": 0,
    });
    const { path, requestSerialize, responseDeserialize } = service.Stream;
    this.call = this.client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadata ?? new grpc.Metadata(),
    );
    this.call.on("data", (event: ServerEvent) => {
      this.events.push(event);
      this.wake();
    });
    this.call.on("error", () => undefined);
    this.ended = new Promise((resolve) => {
      this.call.on("status", ({ code, details }) => {
        this.isEnded = true;
        resolve({ code, details });
        this.wake();
        this.client.close();
      });
    });
  }

  send(frame: Buffer): this {
    this.call.write(frame);
    return this;
  }

  /** The next event that was not taken yet. */
  async next(): Promise<ServerEvent> {
    while (this.events.length === 0) {
      if (this.isEnded) {
        const { code, details } = await this.ended;
        throw new Error(`the stream ended with ${code}: ${details}`);
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    return this.events.shift() as ServerEvent;
  }

  /** Cuts the stream without a word. */
  cancel(): void {
    this.call.cancel();
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

export function openProducer(on: { readonly address: string }) {
  return new TestStream(on.address, wire.producer);
}

export function openWorker(on: { readonly address: string }) {
  return new TestStream(on.address, wire.worker);
}

export async function producer(on: TestServer, options: { followLeader?: boolean } = {}) {
  const stream = openProducer(on);
  const followLeader = options.followLeader ?? false;
  stream.send(wire.encodeProducerHello({ token: "producer", followLeader }));
  const ack = await stream.next();
  if (ack.kind !== "hello_ack") throw new Error(`a hello_ack, not ${ack.kind}`);
  return stream;
}

export interface WorkerOptions {
  readonly token?: string;
  readonly workerId?: string;
  readonly followLeader?: boolean;
  readonly releaseOnClose?: boolean;
}

export async function worker(on: TestServer, options: WorkerOptions = {}) {
  const stream = openWorker(on);
  stream.send(
    wire.encodeWorkerHello({
      token: "worker",
      workerId: "w1",
      followLeader: false,
      releaseOnClose: false,
      ...options,
    }),
  );
  const ack = await stream.next();
  if (ack.kind !== "hello_ack") throw new Error(`a hello_ack, not ${ack.kind}`);
  return stream;
}

/** Waits until the condition holds; turns of the event loop, not time, pass meanwhile. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
