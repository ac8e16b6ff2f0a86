/**
 * The one address under which the other nodes know a node: it hears in the handshake who dials, and
 * leads the connection through the proxy between the two. A proxy's own port for each pair would not
 * do: nodes tell each other their addresses, and would soon dial past it.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { ByteReader } from "../../src/base/bytes.ts";
import { limits } from "../../src/base/limits.ts";
import { FrameDecoder } from "../../src/transport/frame.ts";
import { ownTypes } from "../../src/transport/handshake.ts";
import type { FaultProxy } from "./fault-proxy.ts";

export class NodeFront {
  private readonly server: Server;
  private readonly port: number;
  private readonly wayOf: (dialler: string) => FaultProxy;
  private readonly sockets = new Set<Socket>();

  /**
   * @param port - where the node listens, on loopback
   * @param wayOf - the proxy from a node, by its name, to this one
   */
  private constructor(port: number, wayOf: (dialler: string) => FaultProxy) {
    this.port = port;
    this.wayOf = wayOf;
    this.server = createServer({ noDelay: true, allowHalfOpen: true }, (dialler) => {
      this.accept(dialler);
    });
  }

  /** Listens on a free port of the loopback interface. */
  static async open(port: number, wayOf: (dialler: string) => FaultProxy): Promise<NodeFront> {
    const front = new NodeFront(port, wayOf);
    await new Promise<void>((resolve, reject) => {
      front.server.once("error", reject);
      front.server.listen(0, "127.0.0.1", resolve);
    });
    return front;
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => {
      this.server.close(() => resolve());
    });
  }

  private accept(dialler: Socket): void {
    const target = connect({
      host: "127.0.0.1",
      port: this.port,
      noDelay: true,
      allowHalfOpen: true,
    });
    const end = () => {
      dialler.destroy();
      target.destroy();
    };
    for (const socket of [dialler, target]) {
      this.sockets.add(socket);
      socket.on("error", end);
      socket.on("end", end);
      socket.on("close", () => {
        this.sockets.delete(socket);
        end();
      });
    }
    target.on("data", (bytes) => dialler.write(bytes));
    this.listen(dialler, target);
  }

  /** Passes the hello on; the introduction goes the way that it names. */
  private listen(dialler: Socket, target: Socket): void {
    let held: Buffer[] = [];
    let name: string | null = null;
    let isHello = false;
    const decoder = new FrameDecoder(limits.handshakeBytes, (_group, type, body) => {
      isHello = type === ownTypes.hello;
      if (type === ownTypes.introduction) name = nameOf(body);
      return name === null;
    });
    dialler.on("data", (bytes: Buffer) => {
      held.push(bytes);
      if (decoder.push(bytes) !== null) {
        // Not of a node: what the real port makes of it is seen there.
        isHello = true;
      }
      if (name !== null) {
        for (const socket of [dialler, target]) {
          this.sockets.delete(socket);
          socket.removeAllListeners();
        }
        this.wayOf(name).lead(dialler, target, held);
      } else if (isHello) {
        for (const piece of held) target.write(piece);
        held = [];
      }
    });
  }
}

/** An introduction begins with the dialler's store, cluster and name. */
function nameOf(introduction: Buffer): string {
  const reader = new ByteReader(introduction);
  reader.u64();
  reader.utf8();
  return reader.utf8();
}
