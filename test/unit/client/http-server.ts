/** An HTTP server that answers as a test tells it, and keeps what it was asked. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { QuorumQError } from "../../../src/client/index.ts";

export type Answer = (request: IncomingMessage, response: ServerResponse, body: unknown) => void;

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  /** Parsed; undefined = none */
  readonly body: unknown;
}

export interface ScriptedServer {
  readonly url: string;
  readonly seen: Seen[];
  readonly server: Server;
}

const servers: Server[] = [];

/** To be called after each test. */
export function closeServers(): void {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
}

export async function listen(answer: Answer): Promise<ScriptedServer> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    request.on("end", () => {
      const { url = "", method = "", headers } = request;
      const body: unknown = text === "" ? undefined : JSON.parse(text);
      seen.push({ method, path: url, authorization: headers.authorization, body });
      answer(request, response, body);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, server };
}

/** A URL at which nobody listens. */
export async function deadUrl(): Promise<string> {
  const { url, server } = await listen(() => undefined);
  await new Promise((resolve) => server.close(resolve));
  return url;
}

export function json(response: ServerResponse, status: number, body: unknown, headers = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** Answers with these errors or bodies in turn, then with the last one for ever. */
export function inTurn(...answers: readonly { status: number; body: unknown }[]): Answer {
  let at = 0;
  return (_, response) => {
    const answer = answers[Math.min(at++, answers.length - 1)];
    json(response, answer?.status ?? 500, answer?.body ?? {});
  };
}

export function refusal(status: number, code: string) {
  return { status, body: { error: code, code, requestId: "r1" } };
}

export function codeIs(code: string): (error: unknown) => boolean {
  return (error) => error instanceof QuorumQError && error.code === code;
}

export const taskId = "01890a5d-ac96-774b-bcce-b302099a8057";

export const taskBody = {
  id: taskId,
  command: "mail",
  payload: { to: "a" },
  priority: 0,
  state: "ready",
  status: "PENDING",
  attempts: 0,
  maxAttempts: 5,
  tenantId: "default",
  createdAt: "2026-01-02T03:04:05.006Z",
  updatedAt: "2026-01-02T03:04:05.006Z",
};
