/**
 * The gRPC edge: both streams, the standard health service and server reflection, on one port or
 * several that all serve everything.
 *
 * Sockets are accepted here and handed to grpc-js, so that their number is bounded and a client
 * that does not read can be cut; grpc-js alone does neither.
 */
import { createServer, type Server as NetServer, type Socket } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";
import { createEdgeLogs } from "../../api/bounded-log.ts";
import { loadWire } from "../../api/proto.ts";
import type { ProducerClientEvent, WorkerClientEvent } from "../../api/proto-events.ts";
import { limits } from "../../base/limits.ts";
import type { CancelNotice } from "../../router/router.ts";
import { brokenProtocol } from "./error-mapper.ts";
import { ProducerStream } from "./producer-stream.ts";
import { createReadGates, type ReadGates } from "./read-gate.ts";
import type { StreamContext, StreamDeps } from "./stream-core.ts";
import { StreamSet } from "./stream-set.ts";
import { WorkerStream } from "./worker-stream.ts";

export type GrpcServerDeps = Omit<StreamDeps, "wire" | "rules" | "slowMs" | "logs">;

export interface GrpcServerOptions {
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** Bytes of one payload, at most limits.payloadBytesMax. */
  readonly payloadBytes: number;
  /** For tasks and Readys that say nothing. */
  readonly defaultMaxAttempts: number;
  readonly defaultLeaseMs: number;
  /** Ms from which on a frame is logged as slow. */
  readonly slowMs: number;
}

export interface GrpcServer {
  /** Open streams of each service. */
  readonly streamCounts: { readonly producer: number; readonly worker: number };
  /** @returns the bound addresses, host:port, in the order of the options */
  listen(): Promise<readonly string[]>;
  /**
   * No new streams; waiting Readys are void, outstanding creates and settles are answered, and
   * streams end with UNAVAILABLE, those of workers that hold leases when they hold none.
   * Resolves when all have ended, which may take as long as a lease.
   */
  drain(): Promise<void>;
  /** Cuts what is left and frees the ports. */
  close(): Promise<void>;
}

export function createGrpcServer(deps: GrpcServerDeps, options: GrpcServerOptions): GrpcServer {
  return new StreamServer(deps, options);
}

class StreamServer implements GrpcServer {
  private readonly deps: StreamDeps;
  private readonly options: GrpcServerOptions;
  private readonly streams: StreamSet;
  private readonly gates: ReadGates = createReadGates();
  private readonly grpcServer: grpc.Server;
  private readonly health = new HealthImplementation();
  private readonly sockets = new Set<Socket>();
  private listeners: NetServer[] = [];
  private endings: (() => void)[] = [];
  private streamsMade = 0;
  private isDraining = false;
  /** What the health service says; null before the first look. */
  private isServing: boolean | null = null;

  constructor(deps: GrpcServerDeps, options: GrpcServerOptions) {
    const { payloadBytes, defaultMaxAttempts, defaultLeaseMs, slowMs } = options;
    const rules = { payloadBytes, maxAttempts: defaultMaxAttempts, leaseMs: defaultLeaseMs };
    this.deps = { ...deps, wire: loadWire(), rules, slowMs, logs: createEdgeLogs(deps) };
    this.options = options;
    // It would write what clients send to standard error, past our log and without a bound.
    grpc.setLogVerbosity(grpc.logVerbosity.NONE);
    this.streams = new StreamSet(this.deps);
    this.grpcServer = new grpc.Server(serverOptions(this.gates));
    this.addServices();
  }

  get streamCounts(): { readonly producer: number; readonly worker: number } {
    return this.streams.counts;
  }

  async listen(): Promise<readonly string[]> {
    const injector = this.grpcServer.createConnectionInjector(
      grpc.ServerCredentials.createInsecure(),
    );
    const bound: string[] = [];
    for (const address of this.options.addresses) {
      const listener = createServer({ noDelay: true }, (socket) => {
        this.track(socket);
        injector.injectConnection(socket);
      });
      listener.maxConnections = limits.grpcConnections;
      bound.push(await listenOn(listener, address));
      // Out of file descriptors, say: connections fail, the listener goes on.
      listener.on("error", (error) =>
        this.deps.logger.error("gRPC listener", { error: error.message }),
      );
      this.listeners.push(listener);
    }
    const { router, node } = this.deps;
    this.endings.push(
      router.onCancel((notice: CancelNotice) => this.streams.tellCancel(notice)),
      node.onChange(() => this.streams.tellCluster(node.nodes())),
    );
    this.streams.watch(() => this.updateHealth());
    this.updateHealth();
    return bound;
  }

  drain(): Promise<void> {
    this.isDraining = true;
    this.updateHealth();
    return this.streams.drain();
  }

  async close(): Promise<void> {
    this.isDraining = true;
    this.updateHealth();
    for (const end of this.endings) end();
    this.endings = [];
    this.streams.close();
    const closed = this.listeners.map((listener) => closeListener(listener));
    this.listeners = [];
    await this.shutdown();
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(closed);
  }

  /** Streams end with their status if their clients take it soon; else they are cut. */
  private shutdown(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.deps.timers.after(limits.grpcCloseMs, () => {
        this.grpcServer.forceShutdown();
        resolve();
      });
      this.grpcServer.tryShutdown(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  private addServices(): void {
    const { producer, worker, definition } = this.deps.wire;
    this.grpcServer.addService(producer, {
      Stream: (call: grpc.ServerDuplexStream<ProducerClientEvent, Buffer>) =>
        this.accept(call, (context) => new ProducerStream(this.deps, context)),
    });
    this.grpcServer.addService(worker, {
      Stream: (call: grpc.ServerDuplexStream<WorkerClientEvent, Buffer>) =>
        this.accept(call, (context) => {
          return new WorkerStream(this.deps, context, (stream) => this.streams.nameWorker(stream));
        }),
    });
    this.health.addToServer(this.grpcServer);
    new ReflectionService(definition).addToServer(this.grpcServer);
  }

  private accept<Event>(
    call: grpc.ServerDuplexStream<Event, Buffer>,
    make: (context: StreamContext<Event>) => ProducerStream | WorkerStream,
  ): void {
    const gate = this.gates.gateOf(call.metadata);
    const refusal = this.streams.refusal;
    const requestId = `${this.deps.node.nodeId}-g${++this.streamsMade}`;
    if (gate === undefined || refusal !== null) {
      const status = refusal ?? brokenProtocol("FAILED_PRECONDITION", "no way in");
      const fields = { stream: requestId, service: call.getPath(), status: status.code };
      this.deps.logs.refusals.note("stream refused", fields);
      call.emit("error", Object.assign(new Error(status.details), status));
      return;
    }
    const stream: ProducerStream | WorkerStream = make({
      call,
      gate,
      requestId,
      onOver: () => this.streams.delete(stream),
      cut: () => this.cut(call.getPeer()),
    });
    this.streams.add(stream);
  }

  private track(socket: Socket): void {
    this.sockets.add(socket);
    // grpc-js listens as well; a reset must never be an error without a listener.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.sockets.delete(socket));
  }

  private cut(peer: string): void {
    for (const socket of this.sockets) {
      if (`${socket.remoteAddress}:${socket.remotePort}` === peer) socket.destroy();
    }
  }

  /** The health service says what /readyz says. */
  private updateHealth(): void {
    const isServing = !this.isDraining && this.deps.router.health().ready;
    if (isServing === this.isServing) return;
    this.isServing = isServing;
    for (const name of ["", "producerpb.ProducerStream", "workerpb.WorkerStream"]) {
      this.health.setStatus(name, isServing ? "SERVING" : "NOT_SERVING");
    }
  }
}

function serverOptions(gates: ReadGates): grpc.ServerOptions {
  return {
    interceptors: [gates.interceptor],
    "grpc.max_receive_message_length": limits.grpcMessageBytes,
    // Ack frames of a full create frame are larger than the frame itself can be.
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": limits.grpcStreamsPerConnection,
    "grpc-node.max_session_memory": limits.grpcSessionMiB,
    "grpc.max_connection_idle_ms": limits.grpcIdleMs,
    "grpc.keepalive_time_ms": limits.grpcKeepaliveMs,
    "grpc.keepalive_timeout_ms": limits.grpcKeepaliveTimeoutMs,
  };
}

function listenOn(
  listener: NetServer,
  address: { readonly host: string; readonly port: number },
): Promise<string> {
  return new Promise((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(address, () => {
      listener.off("error", reject);
      const bound = listener.address();
      const port = typeof bound === "object" && bound !== null ? bound.port : address.port;
      const host = address.host.includes(":") ? `[${address.host}]` : address.host;
      resolve(`${host}:${port}`);
    });
  });
}

function closeListener(listener: NetServer): Promise<void> {
  return new Promise((resolve) => listener.close(() => resolve()));
}
