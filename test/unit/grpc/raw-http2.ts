/** Calls made by hand over HTTP/2, for what no gRPC client would send. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";

/** A message with gRPC's five bytes before it. */
export function framed(message: Uint8Array, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head[0] = isCompressed ? 1 : 0;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

export interface RawCall {
  readonly session: ClientHttp2Session;
  readonly stream: ClientHttp2Stream;
  /** Bytes of the answer's body so far, when it is read. */
  readonly chunks: Buffer[];
  /** HTTP status, and grpc-status where there is one. */
  readonly ended: Promise<{ readonly http: number; readonly grpc: number | undefined }>;
  close(): void;
}

/** @param headers - in addition to, or in place of, a gRPC call's own */
export function rawCall(
  on: { readonly port: number },
  path: string,
  headers: Readonly<Record<string, string>> = {},
): RawCall {
  const session = connect(`http://127.0.0.1:${on.port}`);
  session.on("error", () => undefined);
  return callOn(session, path, headers);
}

export function callOn(
  session: ClientHttp2Session,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): RawCall {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  const chunks: Buffer[] = [];
  const ended = new Promise<{ http: number; grpc: number | undefined }>((resolve) => {
    let http = 0;
    let grpc: number | undefined;
    const take = (fields: Record<string, unknown>): void => {
      if (fields["grpc-status"] !== undefined) grpc = Number(fields["grpc-status"]);
    };
    stream.on("response", (fields) => {
      http = Number(fields[":status"]);
      take(fields);
    });
    stream.on("trailers", take);
    stream.on("error", () => undefined);
    // The server said all it has to say: end this side too, as a gRPC client does.
    stream.on("end", () => stream.close());
    stream.on("close", () => resolve({ http, grpc }));
  });
  return { session, stream, chunks, ended, close: () => session.destroy() };
}

/** Starts to read the answer; without it the stream's window fills. */
export function readAll(call: RawCall): void {
  call.stream.on("data", (chunk: Buffer) => call.chunks.push(chunk));
}
