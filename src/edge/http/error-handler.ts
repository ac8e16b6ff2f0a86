/**
 * The end of every request that failed: what was thrown becomes an answer with a code of the
 * table. Also those that never became requests: bytes that are no HTTP, and slow senders.
 */
import { type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { toHttpError, toQueueError } from "../../api/wire-errors.ts";
import { InvariantError } from "../../base/assert.ts";
import { type ErrorCode, QueueError } from "../../base/errors.ts";
import { type HttpContext, sendError } from "./context.ts";
import { type SchemaComplaint, toValidationError } from "./validation.ts";

/** fastify's own errors: what they are in our table. The rest follows from the status. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "payload_too_large",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "unsupported_media_type",
  // No id is that long: it names nothing.
  FST_ERR_MAX_PARAM_LENGTH: "not_found",
};

export function handleErrors(app: FastifyInstance, context: HttpContext): void {
  app.setSchemaErrorFormatter((complaints) => {
    return toValidationError(complaints[0] as SchemaComplaint | undefined, "");
  });
  app.setErrorHandler((thrown, request, reply) => {
    answerThrown(context, thrown, request, reply);
  });
}

/** Answers for whatever was thrown on the way of a request. A broken invariant ends the node. */
export function answerThrown(
  context: HttpContext,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  sendError(context, { request, reply }, fromFramework(thrown));
  if (thrown instanceof InvariantError) {
    // Thrown again where nobody catches it.
    context.deps.timers.soon(() => {
      throw thrown;
    });
  }
}

function fromFramework(thrown: unknown): QueueError {
  if (thrown instanceof QueueError) return thrown;
  const { code, statusCode, message } = thrown as {
    readonly code?: string;
    readonly statusCode?: number;
    readonly message?: string;
  };
  const known = code === undefined ? undefined : frameworkCodes[code];
  const text = message ?? "bad request";
  if (known !== undefined) return new QueueError(known, text, { cause: thrown });
  const isCallers = statusCode !== undefined && statusCode >= 400 && statusCode < 500;
  if (isCallers) return new QueueError("invalid_argument", text, { cause: thrown });
  return toQueueError(thrown);
}

/**
 * Answers on a connection whose bytes are no request, or did not come in time; then closes it.
 * @returns what was answered; null if nobody is there
 */
export function answerBrokenConnection(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  requestId: string,
): ErrorCode | null {
  if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) {
    socket.destroy();
    return null;
  }
  const refusal = connectionError(error.code);
  writeRaw(socket, refusal, requestId);
  return refusal.code;
}

/**
 * Answers a request that nobody handled, behind the answers to those before it, and closes.
 * @returns whether anybody is there
 */
export function answerLast(
  response: ServerResponse,
  error: QueueError,
  requestId: string,
): boolean {
  if (response.req.socket.destroyed) return false;
  const { status, headers, body } = toHttpError(error, { requestId, url: "" });
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "x-request-id": requestId,
    connection: "close",
  });
  response.end(body);
  return true;
}

/** Writes an error as a whole response by hand and closes the connection. */
export function writeRaw(socket: Duplex, error: QueueError, requestId: string, allow = ""): void {
  const { status, headers, body } = toHttpError(error, { requestId, url: "", allow });
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  head += `content-type: application/json; charset=utf-8\r\nconnection: close\r\n`;
  head += `cache-control: no-store\r\nx-request-id: ${requestId}\r\n`;
  head += `content-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  socket.end(head + body, () => socket.destroy());
}

function connectionError(code: string | undefined): QueueError {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new QueueError("timeout", "the request did not arrive in time");
    case "HPE_HEADER_OVERFLOW":
      return new QueueError("headers_too_large", "the headers are too large");
    default:
      return new QueueError("invalid_argument", "this is not an HTTP/1.1 request");
  }
}
