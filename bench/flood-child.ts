/** A client that sends as fast as it can and never reads an answer; by fork. */
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { encodeCreateBatch } from "../src/api/create-coder.ts";
import { loadWire } from "../src/api/proto.ts";
import { encodeReady } from "../src/api/ready-coder.ts";
import { encodeHeartbeat } from "../src/api/settle-coder.ts";
import type { Target } from "./load/protocol.ts";

/** What it sends: creates over HTTP, creates on streams, or Readys and heartbeats on streams. */
export type FloodKind = "http" | "producer" | "worker";

export interface FloodOrder {
  readonly kind: FloodKind;
  readonly target: Target;
}

const sockets = 4;
const streams = 4;
const tasksPerMessage = 64;
/** Bytes that wait in this process for one socket or stream: it is no flood of its own memory. */
const aheadBytes = 1024 * 1024;
const lookEveryMs = 2;

function flood({ kind, target }: FloodOrder): void {
  switch (kind) {
    case "http":
      for (let i = 0; i < sockets; i++) floodHttp(target);
      return;
    case "producer":
      floodStreams(target, kind, producerMessages(target));
      return;
    case "worker":
      floodStreams(target, kind, workerMessages(target));
  }
}

/** Whoever is cut comes again at once. */
function floodHttp(target: Target): void {
  const url = new URL(target.http);
  const text = JSON.stringify({ command: "flood", payload: { n: 1 } });
  const request = Buffer.from(
    `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${target.token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
  const burst = Buffer.concat(Array.from({ length: 100 }, () => request));
  const socket = connect(Number(url.port), url.hostname);
  socket.pause();
  socket.on("close", () => floodHttp(target));
  keepWriting(socket, burst);
}

interface Messages {
  readonly hello: Buffer;
  readonly burst: Buffer;
}

function producerMessages({ token }: Target): Messages {
  const wire = loadWire();
  const task = { seq: 1, queue: "flood", payload: Buffer.from('{"n":1}') };
  const tasks = Array.from({ length: tasksPerMessage }, () => task);
  return {
    hello: framed(wire.encodeProducerHello({ token, followLeader: false })),
    burst: framed(encodeCreateBatch(tasks, null)),
  };
}

function workerMessages({ token }: Target): Messages {
  const hello = { token, workerId: "flood", followLeader: false, releaseOnClose: false };
  const ready = encodeReady({ queues: ["flood"], leaseSeconds: 60, count: 1000 });
  const taskId = "01890a5d-ac96-774b-bcce-b302099a8057";
  const heartbeat = framed(encodeHeartbeat(taskId, 1, { extendSeconds: 60 }));
  return {
    hello: framed(loadWire().encodeWorkerHello(hello)),
    burst: Buffer.concat([framed(ready), ...Array.from({ length: 1000 }, () => heartbeat)]),
  };
}

function floodStreams(target: Target, kind: "producer" | "worker", messages: Messages): void {
  const { path } = loadWire()[kind].Stream;
  const session = connectHttp2(`http://${target.grpc}`, { maxSessionMemory: 1000 });
  session.on("error", () => undefined);
  session.on("close", () => floodStreams(target, kind, messages));
  for (let i = 0; i < streams; i++) {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.pause();
    stream.write(messages.hello);
    keepWriting(stream, messages.burst);
  }
}

interface Writable {
  readonly destroyed: boolean;
  readonly writableLength: number;
  write(bytes: Buffer): boolean;
  on(event: "error", listener: () => void): unknown;
}

function keepWriting(to: Writable, bytes: Buffer): void {
  to.on("error", () => undefined);
  const timer = setInterval(() => {
    if (to.destroyed) clearInterval(timer);
    while (!to.destroyed && to.writableLength < aheadBytes) to.write(bytes);
  }, lookEveryMs);
}

function framed(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

process.on("message", (order) => flood(order as FloodOrder));
process.on("disconnect", () => process.exit());
