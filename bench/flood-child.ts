/** A client that sends as fast as it can and never reads an answer, over HTTP and gRPC; by fork. */
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { encodeCreateBatch } from "../src/api/create-coder.ts";
import { loadWire } from "../src/api/proto.ts";
import type { Target } from "./load/protocol.ts";

const sockets = 4;
const streams = 4;
const tasksPerMessage = 64;

function flood(target: Target): void {
  const url = new URL(target.http);
  const text = JSON.stringify({ command: "flood", payload: { n: 1 } });
  const request = Buffer.from(
    `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${target.token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
  const burst = Buffer.concat(Array.from({ length: 100 }, () => request));
  for (let i = 0; i < sockets; i++) {
    const socket = connect(Number(url.port), url.hostname);
    socket.pause();
    keepWriting(socket, burst);
  }
  const wire = loadWire();
  const { path } = wire.producer.Stream;
  const { token } = target;
  const hello = framed(wire.encodeProducerHello({ token, followLeader: false }));
  const task = { seq: 1, queue: "flood", payload: Buffer.from('{"n":1}') };
  const tasks = Array.from({ length: tasksPerMessage }, () => task);
  const message = framed(encodeCreateBatch(tasks, null));
  const session = connectHttp2(`http://${target.grpc}`);
  session.on("error", () => undefined);
  for (let i = 0; i < streams; i++) {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.pause();
    stream.write(hello);
    keepWriting(stream, message);
  }
}

interface Writable {
  readonly destroyed: boolean;
  write(bytes: Buffer): boolean;
  on(event: "drain" | "error", listener: () => void): unknown;
}

function keepWriting(to: Writable, bytes: Buffer): void {
  const fill = () => {
    while (!to.destroyed && to.write(bytes));
  };
  to.on("error", () => undefined);
  to.on("drain", fill);
  fill();
}

function framed(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

process.on("message", (target) => flood(target as Target));
process.on("disconnect", () => process.exit());
