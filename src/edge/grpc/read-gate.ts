/**
 * Where calls are taken hold of below what grpc-js offers.
 *
 * Back pressure on what a client sends: a closed gate takes no further message off the connection,
 * so HTTP/2's own window fills and the client has to wait. Pausing the call itself would not do:
 * it reads 16 more messages of up to 8 MiB each. Messages are put together by our own assembler.
 */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from "@grpc/grpc-js";
import { assert } from "../../base/assert.ts";
import { MessageAssembler } from "./assembler.ts";
import {
  type CallFlow,
  ConnectionFlow,
  NodeFlow,
  type SessionSettings,
} from "./connection-flow.ts";

export class ReadGate {
  private isOpen = true;
  private isWanted = false;
  /** Takes one more message. */
  private readonly read: () => void;
  /**
   * Sends a message past the call's own queue, which would hold it until the one before has left;
   * calls back when it has left, in order.
   */
  readonly write: (frame: Buffer, done: () => void) => void;
  /** What the call holds. */
  readonly flow: CallFlow;

  constructor(call: ServerInterceptingCallInterface, flow: CallFlow) {
    this.read = () => call.startRead();
    this.write = (frame, done) => call.sendMessage(frame, done);
    this.flow = flow;
  }

  /** Lets messages in, or keeps them out from the next one on. */
  setOpen(isOpen: boolean): void {
    this.isOpen = isOpen;
    if (isOpen && this.isWanted) {
      this.isWanted = false;
      this.read();
    }
  }

  want(): void {
    if (this.isOpen) this.read();
    else this.isWanted = true;
  }
}

/** The gates of a server's calls, found by the call's metadata object. */
export interface ReadGates {
  readonly interceptor: ServerInterceptor;
  gateOf(metadata: Metadata): ReadGate | undefined;
}

export function createReadGates(): ReadGates {
  const gates = new WeakMap<Metadata, ReadGate>();
  const connections = new WeakMap<object, ConnectionFlow>();
  const node = new NodeFlow();
  const connectionOf = ({ session }: Http2Stream): ConnectionFlow => {
    // A stream without a session is over already.
    if (!session) return new ConnectionFlow(node, null);
    let connection = connections.get(session);
    if (!connection) {
      connection = new ConnectionFlow(node, session);
      connections.set(session, connection);
    }
    return connection;
  };
  return {
    interceptor: (_method, call) => {
      const inner = openUp(call);
      const connection = connectionOf(inner.stream);
      assembleMessages(call, inner, connection, node);
      return new GatedCall(call, gates, new ReadGate(call, connection.call()));
    },
    gateOf: (metadata) => gates.get(metadata),
  };
}

/** What grpc-js keeps to itself of a call; its version is pinned, and tests hold the form. */
interface Inner {
  readonly stream: Http2Stream;
  decoder: { write(piece: Buffer): Buffer[] };
}

interface Http2Stream {
  readonly session: SessionSettings | undefined;
  pause(): void;
  resume(): void;
  unshift(piece: Buffer): void;
  once(event: "close", listener: () => void): void;
}

function openUp(call: ServerInterceptingCallInterface): Inner {
  const { stream, decoder } = call as unknown as Partial<Inner>;
  assert(typeof stream?.pause === "function", "grpc-js keeps the call's stream", 0);
  assert(typeof decoder?.write === "function", "grpc-js keeps the call's decoder", 0);
  return call as unknown as Inner;
}

function assembleMessages(
  call: ServerInterceptingCallInterface,
  inner: Inner,
  connection: ConnectionFlow,
  node: NodeFlow,
): void {
  const { stream } = inner;
  const assembler = new MessageAssembler(
    {
      pause: () => stream.pause(),
      resume: () => stream.resume(),
      putBack: (piece) => stream.unshift(piece),
      exhaust: (details) => {
        call.sendStatus({ code: status.RESOURCE_EXHAUSTED, details, metadata: null });
      },
    },
    connection,
    node.pool,
  );
  inner.decoder = assembler;
  connection.streamBegan();
  stream.once("close", () => {
    assembler.drop();
    connection.streamEnded();
  });
}

class GatedCall extends ServerInterceptingCall {
  private readonly inner: ServerInterceptingCallInterface;
  private readonly gate: ReadGate;

  constructor(
    inner: ServerInterceptingCallInterface,
    gates: WeakMap<Metadata, ReadGate>,
    gate: ReadGate,
  ) {
    super(inner, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, deliver) => {
            gates.set(metadata, gate);
            deliver(metadata);
          },
        }),
    });
    this.inner = inner;
    this.gate = gate;
  }

  override startRead(): void {
    this.gate.want();
  }

  /** Straight through: the parent makes two closures per message. */
  override sendMessage(message: unknown, callback: () => void): void {
    this.inner.sendMessage(message, callback);
  }
}
