/** The one door of node:net: TCP connections and listeners, with events told once each. */
import { type AddressInfo, connect, createServer, type Socket as NetSocket } from "node:net";
import { limits } from "../base/limits.ts";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Told in this order; nothing after `closed`, and nothing after `destroy`. Must not throw. */
export interface SocketEvents {
  /** A dialled connection stands. */
  connected(): void;
  data(chunk: Buffer): void;
  /** The system has taken over what was written. */
  written(): void;
  /** @param reset - the other side ended or cut it, as against a network that is silent */
  closed(reset: boolean, text: string): void;
}

export interface Socket {
  /** Address without port; "" if there is none any more. */
  readonly remote: string;
  /** One write at a time: the next one after `written`. The bytes must not change. */
  write(chunks: readonly Uint8Array[]): void;
  pause(): void;
  resume(): void;
  /** Ends the connection when all is written; `closed` follows when the other side ended too. */
  end(): void;
  destroy(): void;
}

export interface SocketListener {
  readonly port: number;
  close(): Promise<void>;
}

export function dialSocket(to: HostPort, events: SocketEvents): Socket {
  const socket = connect({ host: to.host, port: to.port, ...socketOptions });
  socket.once("connect", () => events.connected());
  return wrap(socket, events);
}

/** @param accept - gives those who hear of a new connection; it must be told at once */
export function listenSockets(
  at: HostPort,
  accept: (socket: Socket) => SocketEvents,
): Promise<SocketListener> {
  const server = createServer(socketOptions, (socket) => {
    // The events are known only after `accept` has the socket: nothing can come before.
    const late: { events: SocketEvents | null } = { events: null };
    const told: SocketEvents = {
      connected: () => undefined,
      data: (chunk) => late.events?.data(chunk),
      written: () => late.events?.written(),
      closed: (reset, text) => late.events?.closed(reset, text),
    };
    late.events = accept(wrap(socket, told));
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.host, () => {
      server.off("error", reject);
      // Later errors are failed accepts (no file handles left): dialling again helps.
      server.on("error", () => undefined);
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () => new Promise((closed) => server.close(() => closed())),
      });
    });
  });
}

const socketOptions = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: limits.peerKeepaliveMs,
} as const;

/** What the system reports when nothing came back, as against a reset. */
const silences = new Set(["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN"]);

function wrap(socket: NetSocket, events: SocketEvents): Socket {
  let isOver = false;

  function over(reset: boolean, text: string): void {
    if (isOver) return;
    isOver = true;
    socket.destroy();
    events.closed(reset, text);
  }

  socket.on("data", (chunk: Buffer) => {
    if (!isOver) events.data(chunk);
  });
  socket.on("end", () => over(true, "ended by the other side"));
  socket.on("error", (error: NodeJS.ErrnoException) => {
    over(!silences.has(error.code ?? ""), error.message);
  });
  socket.on("close", () => over(true, "closed"));

  return {
    remote: plainAddress(socket.remoteAddress ?? ""),
    write(chunks) {
      if (isOver) return;
      // Corked writes leave in one system call.
      socket.cork();
      const last = chunks.length - 1;
      for (let i = 0; i < last; i++) socket.write(chunks[i] as Uint8Array);
      socket.write(chunks[last] as Uint8Array, (error) => {
        if (!isOver && !error) events.written();
      });
      socket.uncork();
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    end: () => socket.end(),
    destroy() {
      isOver = true;
      socket.destroy();
    },
  };
}

/** An IPv4 address counts as the same one over an IPv6 socket. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
}
