/** Good requests of every kind: what the damage starts from. */
import type { MethodDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { routeDescriptions } from "../../../src/api/openapi-routes.ts";

const id = "01890a5d-ac96-774b-bcce-b30209900000";

/** One of every route, with its example body, under both prefixes. */
export function httpCorpus(): Buffer[] {
  return routeDescriptions.flatMap(({ method, path, at, body }) => {
    const prefixes = at === "root" ? [""] : ["/v1", "/v1/codeq"];
    return prefixes.map((prefix) => {
      const url = prefix + path.replace("{id}", id).replace("{command}", "mail");
      const head = `${method.toUpperCase()} ${url} HTTP/1.1\r\nHost: a\r\n`;
      if (method === "get") return Buffer.from(`${head}Connection: close\r\n\r\n`);
      // nobody waits here
      const text = JSON.stringify(body?.example ?? {}).replace(/"waitSeconds":\d+,?/u, "");
      const lines = `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n`;
      return Buffer.from(`${head}${lines}Connection: close\r\n\r\n${text}`);
    });
  });
}

type Method = MethodDefinition<object, object>;

export interface Service {
  readonly path: string;
  readonly hello: Buffer;
  readonly messages: readonly Buffer[];
}

/** Messages of both streams, as a client that knows only the files writes them. */
export function grpcCorpus(): Service[] {
  const folder = new URL("../../../proto/", import.meta.url).pathname;
  const definition = loadSync(["producerpb.proto", "workerpb.proto"], {
    includeDirs: [folder],
    keepCase: true,
    longs: Number,
  });
  const method = (name: string) => (definition[name] as unknown as { Stream: Method }).Stream;
  const task = { seq: 1, command: "mail", payload: Buffer.from('{"a":1}'), max_attempts: 3 };
  const result = { task_id: id, status: "COMPLETED", result_json: Buffer.from("{}") };
  const events: readonly [string, object, readonly object[]][] = [
    [
      "producerpb.ProducerStream",
      { hello: { token: "x" } },
      [
        { create: task },
        { create: { ...task, idempotency_key: "k", webhook: "http://a/", delay_seconds: 5 } },
        { create_batch: { tasks: [task, { ...task, seq: 2 }], run_id: Buffer.alloc(16, 0x77) } },
      ],
    ],
    [
      "workerpb.WorkerStream",
      { hello: { token: "x", worker_id: "w", release_on_close: true, follow_leader: true } },
      [
        { ready: { commands: ["mail"], lease_seconds: 5, count: 2 } },
        { result },
        { result_batch: { results: [result, { ...result, status: "FAILED", error: "no" }] } },
        { nack: { task_id: id, delay_seconds: 1, reason: "no", lease_token: 4096 } },
        { heartbeat: { task_id: id, extend_seconds: 5 } },
        { abandon: { task_id: id } },
      ],
    ],
  ];
  return events.map(([name, hello, messages]) => {
    const { path, requestSerialize } = method(name);
    return { path, hello: requestSerialize(hello), messages: messages.map(requestSerialize) };
  });
}

/** A message with gRPC's five bytes before it. */
function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function frame(type: number, flags: number, stream: number, body: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** Literal header fields, never indexed (RFC 7541 6.2.2): no table, no Huffman. */
function headerBlock(path: string): Buffer {
  const fields = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "a"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
  ];
  const parts = fields.map(([name = "", value = ""]) => {
    const [n, v] = [Buffer.from(name), Buffer.from(value)];
    return Buffer.concat([Buffer.from([0, n.length]), n, Buffer.from([v.length]), v]);
  });
  return Buffer.concat(parts);
}

/**
 * Whole connections as bytes: preface, settings, a call, its messages, its end.
 * @param damage - of one message of the call
 */
export function connection(service: Service, damage: (message: Buffer) => Buffer): Buffer {
  const messages = [service.hello, ...service.messages].map(framed);
  const body = Buffer.concat(messages.map(damage));
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    frame(4, 0, 0, Buffer.alloc(0)),
    frame(1, 4, 1, headerBlock(service.path)),
    ...split(body, 16_000).map((part) => frame(0, 0, 1, part)),
    frame(0, 1, 1, Buffer.alloc(0)),
  ]);
}

function split(bytes: Buffer, size: number): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}
