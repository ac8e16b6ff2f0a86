/** FAULTS 5.1-08: many requests on one connection, without waiting for their answers. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { after, before, test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import { inTurn } from "../../../src/edge/http/pipeline.ts";
import { closeAll, type Harness, parseRaw, readAll, startHttp } from "./harness.ts";
import { granted } from "./scripted-router.ts";

let http: Harness;
const hasEnd = { timeout: 15_000 };
const most = 1 + limits.httpPipelinedWaiting;

before(async () => {
  http = await startHttp();
});
after(async () => {
  assert.equal((await http.get("/livez")).status, 200);
  await closeAll();
});

function createOf(n: number, more = ""): string {
  const body = JSON.stringify({ command: "q", payload: n });
  const head = `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n`;
  return `${head}${more}Content-Length: ${body.length}\r\n\r\n${body}`;
}

function createsOf(count: number): string {
  const last = createOf(count - 1, "Connection: close\r\n");
  return Array.from({ length: count - 1 }, (_, i) => createOf(i)).join("") + last;
}

/** Statuses of the answers that stand behind one another in a text. */
function statusesIn(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/gu)].map((match) => Number(match[1]));
}

test("pipelined requests are answered in order, as many as may wait", hasEnd, async () => {
  const socket = await http.connect();
  const answers = readAll(socket);
  socket.write(createsOf(most));
  const text = await answers;
  assert.deepEqual(statusesIn(text), Array(most).fill(202));
  const payloads = [...text.matchAll(/"payload":(\d+)/gu)].map((match) => Number(match[1]));
  assert.deepEqual(
    payloads,
    Array.from({ length: most }, (_, i) => i),
  );
});

test(
  "a claim that was pipelined waits for its turn, and ends with its connection",
  hasEnd,
  async () => {
    const node = await startHttp();
    node.router.answerClaim = () => undefined;
    const claimed = () =>
      new Promise<(outcome: ReturnType<typeof granted>) => void>((resolve) => {
        node.router.onClaim = resolve;
      });
    const first = claimed();
    const socket = await node.connect();
    const body = '{"waitSeconds":20}';
    const head = "POST /v1/tasks/claim HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`.repeat(3));
    const done = await first;
    assert.equal((await node.get("/livez")).status, 200);
    assert.equal(node.router.claims.length, 1);
    const second = claimed();
    done(granted("w", ["1"]));
    await second;
    assert.equal(node.router.claims.length, 2);
    const canceled = new Promise<void>((resolve) => {
      node.router.onCanceledClaim = resolve;
    });
    socket.destroy();
    await canceled;
    assert.equal(node.router.claims.length, 2);
  },
);

test("5.1-08 a flood of requests is refused, and one of them carried out", hasEnd, async () => {
  const node = await startHttp();
  const socket = await node.connect();
  const answers = readAll(socket);
  const burst = createOf(1).repeat(100);
  for (let i = 0; i < 50; i++) socket.write(burst);
  const text = await answers;
  const statuses = statusesIn(text);
  assert.deepEqual(statuses, [202, 429]);
  const last = parseRaw(text.slice(text.lastIndexOf("HTTP/1.1 ")));
  assert.deepEqual([last.body["code"], last.headers.get("connection")], ["rate_limited", "close"]);
  assert.equal(last.headers.get("retry-after"), "1");
  assert.equal(node.router.created.length, 1);
});

test("5.1-08 a flood whose answers are never read is let go after a while", hasEnd, async () => {
  const node = await startHttp();
  const sockets = await Promise.all(Array.from({ length: 4 }, () => node.connect()));
  const closed = sockets.map((socket) => new Promise((over) => socket.once("close", over)));
  const burst = Buffer.from(createOf(1).repeat(1000));
  for (const socket of sockets) {
    socket.pause();
    for (let i = 0; i < 200; i++) socket.write(burst);
  }
  const started = performance.now();
  const others = await Promise.all(Array.from({ length: 20 }, () => node.get("/livez")));
  assert.ok(others.every(({ status }) => status === 200));
  await Promise.all(closed);
  assert.ok(performance.now() - started > limits.httpPipelinedHoldMs * 0.9);
  assert.equal(node.router.created.length, 4);
});

test("5.1-08 what a flood has sent is left in its connection", hasEnd, async () => {
  let seen = 0;
  let refused = 0;
  const handle = (_request: IncomingMessage, response: ServerResponse) => response.end("x");
  const gate = inTurn({
    handle: (request, response) => setTimeout(() => handle(request, response), 100),
    refuse: () => refused++,
  });
  const server = createServer((request, response) => {
    seen++;
    gate(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  socket.resume().write(request.repeat(100_000));
  await new Promise((resolve) => socket.once("data", resolve));
  for (let turn = 0; turn < 200; turn++) await new Promise((go) => setImmediate(go));
  // Node reads 64 KiB at once; the answer to the first one lets it read once more.
  assert.ok(seen <= Math.ceil((3 * 65_536) / request.length), `${seen} were taken`);
  assert.equal(refused, 1);
  socket.destroy();
  server.close();
});
