/**
 * Requests that come before the answers to earlier ones of their connection.
 *
 * Node reads 64 KiB from a connection and hands out every request in them in one turn of the event
 * loop: a client that sends at full speed would have hundreds in work at once, while all others wait.
 * Here a connection has one in work; some more wait for their turn. One that sends yet more is read
 * no further, and told so after a while: at once would only let it come again.
 *
 * One at a time also because Node tells nobody that a connection is gone whose answer is not the
 * next to be sent: a claim that waits would go on waiting.
 *
 * States of a connection: open → over (nothing further is taken; it ends with the refusal).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { limits } from "../../base/limits.ts";

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface PipelineDeps {
  readonly handle: RequestHandler;
  /** Answers for a connection with too many requests, some time later, and closes it. */
  readonly refuse: (response: ServerResponse) => void;
}

/** Serves each connection's requests in their turn. */
export function inTurn(deps: PipelineDeps): RequestHandler {
  const lines = new WeakMap<Socket, Line>();
  return (request, response) => {
    let line = lines.get(request.socket);
    if (line === undefined) {
      line = new Line(deps);
      lines.set(request.socket, line);
    }
    line.take(request, response);
  };
}

type Turn = readonly [request: IncomingMessage, response: ServerResponse];

class Line {
  private readonly deps: PipelineDeps;
  private isBusy = false;
  private waiting: Turn[] = [];
  private isOver = false;
  private readonly onClose = (): void => this.left();

  constructor(deps: PipelineDeps) {
    this.deps = deps;
  }

  take(request: IncomingMessage, response: ServerResponse): void {
    if (this.isOver) {
      stopReading(request.socket);
    } else if (!this.isBusy) {
      this.start(request, response);
    } else if (this.waiting.length < limits.httpPipelinedWaiting) {
      this.waiting.push([request, response]);
    } else {
      this.end(request.socket);
    }
  }

  private start(request: IncomingMessage, response: ServerResponse): void {
    this.isBusy = true;
    response.once("close", this.onClose);
    this.deps.handle(request, response);
  }

  private left(): void {
    this.isBusy = false;
    const next = this.waiting.shift();
    if (next && !next[0].socket.destroyed) this.start(...next);
  }

  /** What waits was not begun: it is as if it had not been sent. */
  private end(socket: Socket): void {
    const [first] = this.waiting as [Turn];
    this.isOver = true;
    this.waiting = [];
    stopReading(socket);
    this.deps.refuse(first[1]);
  }
}

/**
 * Takes nothing more off a connection. `pause` alone does not last: Node resumes a connection behind
 * every message, unless it bears Node's own mark for clients that do not read their answers.
 */
function stopReading(socket: Socket & { _paused?: boolean }): void {
  socket._paused = true;
  socket.pause();
}
