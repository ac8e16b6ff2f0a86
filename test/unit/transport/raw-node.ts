/** A node that is no good: it speaks the handshake as told, and then sends what it likes. */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { FrameBatch, FrameDecoder } from "../../../src/transport/frame.ts";
import { createDialHandshake, nonceBytes, ownTypes } from "../../../src/transport/handshake.ts";
import {
  type Channel,
  frameBodyBytesMax,
  type NodeIdentity,
  nodeGroup,
} from "../../../src/transport/transport.ts";
import { listenHost, secret } from "./tcp-world.ts";

export interface Forgery {
  readonly identity: NodeIdentity;
  readonly secret?: string;
  readonly channel?: Channel;
  /** Id of the node that it means. */
  readonly wanted?: string;
}

export function encodeFrame(group: number, type: number, body: Uint8Array): Buffer {
  const batch = new FrameBatch();
  batch.add(group, type, [body]);
  return Buffer.concat(batch.take(Number.POSITIVE_INFINITY));
}

export class RawNode {
  readonly socket: Socket;
  /** Bytes that were sent. */
  readonly sent: Buffer[] = [];
  /** Frames that came, the handshake's too. */
  readonly seen: { readonly type: number; readonly body: Buffer }[] = [];
  isConnected = false;
  isClosed = false;
  private onFrame: (type: number, body: Buffer) => void = () => undefined;

  constructor(port: number, from = "127.0.0.1") {
    this.socket = connect({ port, host: listenHost, localAddress: from, noDelay: true });
    const decoder = new FrameDecoder(frameBodyBytesMax, (_group, type, body) => {
      this.seen.push({ type, body });
      this.onFrame(type, body);
      return true;
    });
    this.socket.on("connect", () => {
      this.isConnected = true;
    });
    this.socket.on("data", (chunk) => decoder.push(chunk));
    // what happens to it is seen in `isClosed`
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.isClosed = true;
    });
  }

  get isWelcome(): boolean {
    return this.seen.some(({ type }) => type === ownTypes.welcome);
  }

  /** Number of the reason for which it was refused; undefined if it was not. */
  get refusal(): number | undefined {
    return this.seen.find(({ type }) => type === ownTypes.refusal)?.body[0];
  }

  send(bytes: Buffer): void {
    this.sent.push(bytes);
    this.socket.write(bytes);
  }

  /** Says hello and what follows. */
  greet(forgery: Forgery): void {
    const { identity, channel = "append", wanted = "a" } = forgery;
    const deps = {
      nonce: () => randomBytes(nonceBytes),
      identity: () => identity,
      secret: forgery.secret ?? secret,
      objection: () => null,
    };
    const handshake = createDialHandshake(deps, channel, wanted);
    this.onFrame = (type, body) => {
      const step = handshake.receive(type, body);
      if (step.kind !== "reply") return;
      this.send(encodeFrame(nodeGroup, step.message.type, step.message.body));
    };
    if (handshake.opening === null) throw new Error("a dialler speaks first");
    this.send(encodeFrame(nodeGroup, handshake.opening.type, handshake.opening.body));
  }

  end(): void {
    this.socket.destroy();
  }
}
