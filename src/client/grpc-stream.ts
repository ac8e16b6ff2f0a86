/** The SDK's one door to grpc-js: a bidirectional stream of finished frames to one endpoint. */
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  status,
} from "@grpc/grpc-js";
import type { ProducerEvent, WorkerEvent } from "../api/client-events.ts";
import type { ErrorCode } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { watchConnection } from "./connection-watch.ts";
import { QuorumQError } from "./errors.ts";
import { createClientEffects } from "./system.ts";

export type ServerEvent = ProducerEvent | WorkerEvent;

export interface StreamEvents {
  event(event: ServerEvent): void;
  /** Once, unless `destroy` came before. */
  ended(error: QuorumQError): void;
}

export interface OpenStream {
  /** Sends an encoded event. The buffer must not change afterwards. */
  write(frame: Buffer): void;
  /** Says that nothing more will come; the server ends the stream. */
  end(): void;
  /** Cuts the stream; no event comes after it, and the next one uses another connection. */
  destroy(): void;
}

/**
 * Opens streams of one service. Streams of a process to one endpoint share a connection, so that
 * what they write in one turn goes out in one call of the kernel (one task per message: 6,500
 * cycles/s with a connection each, 10,200 with one). A stream that lost its connection, or gave it
 * up, takes another one than it had.
 */
export type StreamOpener = (endpoint: string, events: StreamEvents) => OpenStream;

const channelOptions = {
  "grpc.max_receive_message_length": limits.grpcMessageBytes,
  "grpc.max_send_message_length": limits.grpcMessageBytes,
  // Many streams share the connection: a frame of tasks must not wait for window updates.
  "grpc-node.flow_control_window": limits.clientConnectionBytes,
  // grpc-js keeps a copy of what was sent for its own retries; frames are kept here already.
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.keepalive_time_ms": limits.clientPingMs,
  // Whether the answers come is watched here (connection-watch.ts).
  "grpc.keepalive_timeout_ms": limits.timerMsMax,
};

/**
 * Every connection made with these is watched, by the clock that grpc-js pings by. To grpc-js all
 * plain credentials are equal.
 */
function watchedCredentials(): ChannelCredentials {
  const effects = createClientEffects();
  const plain = credentials.createInsecure();
  const create = plain._createSecureConnector.bind(plain);
  plain._createSecureConnector = (...args) => {
    const connector = create(...args);
    const connect = connector.connect.bind(connector);
    connector.connect = (socket) => {
      watchConnection(socket, effects);
      return connect(socket);
    };
    return connector;
  };
  return plain;
}

/**
 * @param path - of the method, "/package.Service/Method"
 * @param read - decodes an event; may throw DecodeError, which ends the stream
 */
export function createGrpcOpener(path: string, read: (bytes: Buffer) => ServerEvent): StreamOpener {
  const watched = watchedCredentials();
  let lost = 0;
  return (endpoint, events) => {
    // grpc-js shares a connection between channels with equal options. This one tells those apart
    // that were lost: reconnecting is the session's work, a channel that waits would delay it.
    const options = { ...channelOptions, "quorumq.connections_lost": lost };
    const client = new Client(endpoint, watched, options);
    const call: ClientDuplexStream<Buffer, ServerEvent> = client.makeBidiStreamRequest(
      path,
      finished,
      read,
      new Metadata(),
    );
    let isOver = false;
    let isConnected = false;
    call.on("data", (event: ServerEvent) => {
      isConnected = true;
      if (!isOver) events.event(event);
    });
    // A call that fails emits "error" and then "status"; the second one comes in every case.
    call.on("error", () => undefined);
    call.on("status", ({ code, details }) => {
      if (isOver) return;
      isOver = true;
      if (code === status.UNAVAILABLE) lost++;
      client.close();
      events.ended(new QuorumQError(codeOfStatus(code), `${endpoint}: ${details || status[code]}`));
    });
    return {
      write(frame) {
        if (isOver) return;
        // Past the call's own queue, which holds a message until the one before has left: one per
        // turn of the event loop. Only on a stream that was answered: grpc-js keeps no more than
        // one message for a connection to come.
        if (isConnected && call.call && call.writableLength === 0) {
          call.call.sendMessageWithContext({}, frame);
        } else {
          call.write(frame);
        }
      },
      end() {
        // grpc-js hands messages on in a microtask each, but the end at once.
        setImmediate(() => {
          if (!isOver) call.end();
        });
      },
      destroy() {
        if (isOver) return;
        isOver = true;
        lost++;
        call.cancel();
        client.close();
      },
    };
  };
}

/** Frames are encoded before they come here. */
function finished(frame: Buffer): Buffer {
  return frame;
}

/** What the end of a stream means. OK and UNAVAILABLE are a node that stops or is gone. */
function codeOfStatus(code: status): ErrorCode {
  switch (code) {
    case status.UNAUTHENTICATED:
      return "unauthenticated";
    case status.PERMISSION_DENIED:
      return "permission_denied";
    case status.INVALID_ARGUMENT:
      return "invalid_argument";
    case status.UNIMPLEMENTED:
      return "method_not_allowed";
    case status.FAILED_PRECONDITION:
      return "not_leader";
    case status.DEADLINE_EXCEEDED:
      return "timeout";
    case status.RESOURCE_EXHAUSTED:
      return "overloaded";
    case status.INTERNAL:
      return "internal";
    default:
      return "draining";
  }
}
