/** Starts the real HTTP edge on a free loopback port, with a scripted router behind it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createAuthenticator } from "../../../src/auth/authenticator.ts";
import type { TokenEntry } from "../../../src/auth/token-entries.ts";
import type { LogFields } from "../../../src/base/effects.ts";
import type { HttpBounds } from "../../../src/edge/http/context.ts";
import { createHttpServer, type HttpServer } from "../../../src/edge/http/server.ts";
import { createLogger } from "../../../src/platform/logger.ts";
import { createMetrics, type MetricsRegistry } from "../../../src/platform/metrics.ts";
import { createClock, createRandom, createTimers } from "../../../src/platform/system.ts";
import { ScriptedAdmin } from "./scripted-admin.ts";
import { ScriptedMembers } from "./scripted-members.ts";
import { ScriptedRouter } from "./scripted-router.ts";

export interface Setup {
  /** Absent = open mode. */
  readonly tokens?: readonly TokenEntry[];
  readonly bounds?: Partial<HttpBounds>;
  readonly payloadBytes?: number;
  readonly bodyBytes?: number;
  readonly corsOrigins?: readonly string[];
  readonly slowMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON, {} if it is empty. */
  readonly body: Readonly<Record<string, unknown>>;
}

export class Harness {
  readonly router = new ScriptedRouter();
  readonly admin = new ScriptedAdmin();
  readonly members = new ScriptedMembers();
  readonly logLines: string[] = [];
  readonly metrics: MetricsRegistry = createMetrics();
  readonly server: HttpServer;
  port = 0;

  constructor(setup: Setup) {
    const write = (line: string) => this.logLines.push(line);
    this.server = createHttpServer(
      {
        router: this.router,
        admin: this.admin,
        members: this.members,
        authenticator: createAuthenticator({
          tokens: setup.tokens ?? [],
          open: setup.tokens === undefined,
          producerAsWorker: false,
        }),
        clock: createClock(),
        timers: createTimers(),
        random: createRandom(),
        logger: createLogger({ level: "debug", format: "json", write }),
        metrics: this.metrics,
        renderMetrics: () => this.metrics.render(),
      },
      {
        host: "127.0.0.1",
        port: 0,
        nodeId: "n1",
        version: "1.2.3",
        payloadBytes: setup.payloadBytes ?? 1024 * 1024,
        bodyBytes: setup.bodyBytes ?? 8 * 1024 * 1024,
        maxAttemptsDefault: 5,
        leaseSecondsDefault: 300,
        corsOrigins: setup.corsOrigins ?? [],
        slowMs: setup.slowMs ?? 1000,
        ...(setup.bounds === undefined ? {} : { bounds: setup.bounds }),
      },
    );
  }

  async send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const hasBody = body !== undefined;
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      redirect: "manual",
      headers: { ...(hasBody ? { "content-type": "application/json" } : {}), ...headers },
      ...(hasBody ? { body: typeof body === "string" ? body : JSON.stringify(body) } : {}),
    });
    return toAnswer(response.status, response.headers, await response.text());
  }

  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> {
    return this.send("POST", path, body, headers);
  }

  get(path: string, headers?: Record<string, string>): Promise<Answer> {
    return this.send("GET", path, undefined, headers);
  }

  /** Sends bytes as they are; gives what came back until the server closed. */
  async raw(bytes: string | Buffer): Promise<Answer> {
    const socket = await this.connect();
    socket.write(bytes);
    return parseRaw(await readAll(socket));
  }

  async connect(): Promise<Socket> {
    const socket = connect(this.port, "127.0.0.1");
    // A reset after the answer is as good as an end.
    socket.on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  }

  debugLines(): readonly LogFields[] {
    return this.logLines.map((line) => JSON.parse(line) as LogFields);
  }
}

const started: Harness[] = [];

/** Closes every server of this file, those of failed tests too: none keeps the process alive. */
export async function closeAll(): Promise<void> {
  await Promise.all(started.map((harness) => harness.server.close(0)));
}

export async function startHttp(setup: Setup = {}): Promise<Harness> {
  const harness = new Harness(setup);
  started.push(harness);
  const { port } = await harness.server.listen();
  harness.port = port;
  return harness;
}

export async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "close");
  return Buffer.concat(chunks).toString("latin1");
}

export function parseRaw(text: string): Answer {
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, Math.max(end, 0)).split("\r\n");
  const headers = new Headers();
  for (const line of lines)
    headers.append(line.split(": ")[0] ?? "", line.replace(/^[^:]*: /u, ""));
  return toAnswer(Number(first.split(" ")[1] ?? 0), headers, text.slice(end + 4));
}

function toAnswer(status: number, headers: Headers, text: string): Answer {
  const isJson = headers.get("content-type")?.startsWith("application/json") === true;
  const body = isJson && text !== "" ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status, headers, text, body };
}

/** A refusal has a status, a code of the table, a request id, and gives nothing away. */
export function assertRefused(answer: Answer, status: number, code: string, field?: string): void {
  const seen = { status: answer.status, code: answer.body["code"], field: answer.body["field"] };
  assert.deepEqual(seen, { status, code, field }, answer.text);
  assert.equal(typeof answer.body["error"], "string");
  assert.match(String(answer.body["requestId"]), /^[0-9a-f]{8}-[0-9a-z]+$/u);
  assert.equal(answer.headers.get("x-request-id"), answer.body["requestId"]);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.doesNotMatch(answer.text, /node_modules|\.ts:|\bat \w+ \(/u);
}
