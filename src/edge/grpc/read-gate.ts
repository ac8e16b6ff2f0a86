/**
 * Back pressure on what a client sends: a closed gate takes no further message off the connection,
 * so HTTP/2's own window fills and the client has to wait. Pausing the call itself would not do:
 * it reads 16 more messages of up to 8 MiB each.
 */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from "@grpc/grpc-js";

export class ReadGate {
  private isOpen = true;
  private isWanted = false;
  private readonly read: () => void;
  /**
   * Sends a message past the call's own queue, which would hold it until the one before has left;
   * calls back when it has left, in order.
   */
  readonly write: (frame: Buffer, done: () => void) => void;

  /** @param read - takes one more message */
  constructor(read: () => void, write: (frame: Buffer, done: () => void) => void) {
    this.read = read;
    this.write = write;
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
  return {
    interceptor: (_method, call) => new GatedCall(call, gates),
    gateOf: (metadata) => gates.get(metadata),
  };
}

class GatedCall extends ServerInterceptingCall {
  private readonly inner: ServerInterceptingCallInterface;
  private readonly gate: ReadGate;

  constructor(inner: ServerInterceptingCallInterface, gates: WeakMap<Metadata, ReadGate>) {
    const gate = new ReadGate(
      () => inner.startRead(),
      (frame, done) => inner.sendMessage(frame, done),
    );
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
