/**
 * FAULTS 5.1: what is no proper HTTP request, comes too slowly, is too much, or comes while the
 * node drains. Raw sockets, since client libraries are too polite.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { QueueError } from "../../../src/base/errors.ts";
import { createMetricsServer } from "../../../src/edge/http/metrics-server.ts";
import { createMetrics } from "../../../src/platform/metrics.ts";
import { createRandom, createTimers } from "../../../src/platform/system.ts";
import {
  type Answer,
  assertRefused,
  closeAll,
  type Harness,
  parseRaw,
  readAll,
  startHttp,
} from "./harness.ts";
import { granted } from "./scripted-router.ts";

let http: Harness;
/** For tests that would hang if the server forgot somebody. */
const hasEnd = { timeout: 15_000 };

before(async () => {
  http = await startHttp();
});
after(async () => {
  assert.equal((await http.get("/livez")).status, 200);
  await closeAll();
});

const ask = (lines: string, target = "/livez") =>
  http.raw(Buffer.from(`GET ${target} HTTP/1.1\r\n${lines}\r\n\r\n`, "latin1"));
const post = (lines: string, body: string) =>
  http.raw(
    `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${lines}\r\n\r\n${body}`,
  );

test("5.1-05 a declared body over the limit gets 413 before it is sent, and the end", async () => {
  const answer = await post("Content-Length: 1200000", "");
  assertRefused(answer, 413, "payload_too_large");
  assert.equal(answer.headers.get("connection"), "close");
});

test("5.1-05 a chunked body over the limit gets 413, and the end", async () => {
  const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
  const answer = await post("Transfer-Encoding: chunked", chunk.repeat(18));
  assertRefused(answer, 413, "payload_too_large");
  assert.equal(answer.headers.get("connection"), "close");
});

test("5.1-18 a batch over the body limit gets 413", async () => {
  const answer = await http.raw(
    "POST /v1/tasks/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 8388609\r\n\r\n",
  );
  assertRefused(answer, 413, "payload_too_large");
});

const broken: readonly [row: string, name: string, bytes: string | Buffer][] = [
  [
    "5.1-06",
    "Content-Length and Transfer-Encoding",
    "POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  [
    "5.1-06",
    "two Content-Lengths",
    "POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
  ],
  [
    "5.1-06",
    "a bad chunk",
    "POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
  ],
  ["5.1-06", "a bare LF", "GET /livez HTTP/1.1\nHost: a\n\n"],
  [
    "5.1-06",
    "a folded header",
    "GET /livez HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\nConnection: close\r\n\r\n",
  ],
  ["5.1-06", "NUL in a header", "GET /livez HTTP/1.1\r\nHost: a\r\nX-A: b\u0000c\r\n\r\n"],
  ["5.1-06", "a space before the colon", "GET /livez HTTP/1.1\r\nHost : a\r\n\r\n"],
  [
    "5.1-09",
    "absolute form",
    "GET http://a/livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  ],
  ["5.1-09", "an unknown method", "BREW /livez HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["5.1-24", "no Host", "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"],
  ["5.1-24", "two Hosts", "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"],
  ["5.1-24", "an empty Host", "GET /livez HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"],
  ["5.1-24", "a Host with a path", "GET /livez HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n"],
  ["5.1-24", "a Host with a user", "GET /livez HTTP/1.1\r\nHost: u@a\r\nConnection: close\r\n\r\n"],
  ["5.1-26", "a TLS hello", Buffer.from("16030100a5010000a10303", "hex")],
  ["5.1-26", "an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["5.1-26", "random bytes", Buffer.from("00ff80017f1b5b324a0a0d0a0d0a", "hex")],
];

for (const [row, name, bytes] of broken) {
  test(`${row} ${name} gets 400 and the end`, async () => {
    assertRefused(await http.raw(bytes), 400, "invalid_argument");
  });
}

test("5.1-24 good Hosts are taken, and HTTP/1.0 needs none", async () => {
  for (const host of ["a", "a.b-c:8080", "127.0.0.1:1", "[::1]:8080"]) {
    assert.equal((await ask(`Host: ${host}\r\nConnection: close`)).status, 200, host);
  }
  assert.equal((await http.raw("GET /livez HTTP/1.0\r\n\r\n")).status, 200);
});

test("5.1-07 a header block over 16 KiB, or more than 100 headers, get 431", async () => {
  assertRefused(await ask(`Host: a\r\nX: ${"x".repeat(17_000)}`), 431, "headers_too_large");
  const many = (n: number) => Array.from({ length: n }, (_, i) => `X-${i}: y`).join("\r\n");
  assertRefused(await ask(`Host: a\r\nConnection: close\r\n${many(99)}`), 431, "headers_too_large");
  assertRefused(
    await ask(`Host: a\r\nConnection: close\r\n${many(500)}`),
    431,
    "headers_too_large",
  );
  assert.equal((await ask(`Host: a\r\nConnection: close\r\n${many(98)}`)).status, 200);
});

test("5.1-09 TRACE and CONNECT get 405", async () => {
  const trace = await http.raw("TRACE /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  assertRefused(trace, 405, "method_not_allowed");
  assert.equal(trace.headers.get("allow"), "GET, HEAD, OPTIONS");
  const connect = await http.raw("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n");
  assertRefused(connect, 405, "method_not_allowed");
});

test(
  "5.1-08 slow headers and slow bodies get 408 and the end, others are served meanwhile",
  hasEnd,
  async () => {
    const slow = await startHttp({ bounds: { headersMs: 150, requestMs: 300, checkMs: 50 } });
    const sockets = await Promise.all(Array.from({ length: 50 }, () => slow.connect()));
    const answers = sockets.map((socket, i) => {
      const head = "POST /v1/tasks HTTP/1.1\r\nHost: a\r\n";
      const body = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
      socket.write(i % 2 === 0 ? head : head + body);
      return readAll(socket).then(parseRaw);
    });
    const served = await slow.post("/v1/tasks", { command: "q", payload: 1 });
    assert.equal(served.status, 202);
    for (const answer of await Promise.all(answers)) assertRefused(answer, 408, "timeout");
    assert.equal(slow.router.created.length, 1);
    await slow.server.close(0);
  },
);

test("5.1-25 connections above the limit are closed at once; those below go on", async () => {
  const small = await startHttp({ bounds: { connections: 20 } });
  const sockets = await Promise.all(Array.from({ length: 40 }, () => small.connect()));
  const closed = sockets.slice(20).map((socket) => readAll(socket));
  for (const text of await Promise.all(closed)) assert.equal(text, "");
  const [first] = sockets;
  assert.ok(first);
  first.write("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
  const [chunk] = (await once(first, "data")) as [Buffer];
  assert.equal(parseRaw(chunk.toString()).status, 200);
  for (const socket of sockets) socket.destroy();
  // It recovers as soon as the others are gone.
  let answer: Answer | undefined;
  for (let i = 0; i < 100 && answer?.status !== 200; i++) {
    answer = await small.raw("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  }
  assert.equal(answer?.status, 200);
  await small.server.close(0);
});

test("5.1-25 half-open connections do not hold up a close", hasEnd, async () => {
  const half = await startHttp();
  const sockets = await Promise.all(Array.from({ length: 20 }, () => half.connect()));
  for (const socket of sockets) socket.write("GET /live");
  const started = performance.now();
  await half.server.close(200);
  assert.ok(performance.now() - started < 3000);
  for (const socket of sockets) socket.destroy();
});

test("5.1-22 a draining node refuses with 503, Retry-After and the end; health is still told", async () => {
  const draining = await startHttp();
  draining.server.drain();
  const answer = await draining.post("/v1/tasks", { command: "q", payload: 1 });
  assertRefused(answer, 503, "draining");
  assert.equal(answer.headers.get("retry-after"), "1");
  assert.equal(answer.headers.get("connection"), "close");
  assert.equal(draining.router.created.length, 0);
  const readyz = await draining.get("/readyz?x");
  assert.deepEqual([readyz.status, readyz.body["reason"]], [503, "draining"]);
  assert.equal((await draining.get("/livez")).status, 200);
  assert.equal((await draining.get("/metrics")).status, 200);
  await draining.server.close(0);
});

test("a claim that waits when the node drains is answered, and so is a read", hasEnd, async () => {
  const node = await startHttp();
  const waiting = new Promise<(outcome: ReturnType<typeof granted>) => void>((resolve) => {
    node.router.onClaim = resolve;
  });
  const reading = new Promise<void>((resolve) => {
    node.router.answerResult = (_task, signal) => {
      resolve();
      return new Promise((_, reject) => {
        signal?.addEventListener("abort", () => reject(new Error("aborted")));
      });
    };
  });
  node.router.answerClaim = () => undefined;
  const claim = node.post("/v1/tasks/claim", { waitSeconds: 20 });
  const read = node.get("/v1/tasks/018f0000-0000-7000-8000-0000000100ff/result?waitSeconds=20");
  const done = await waiting;
  await reading;
  node.server.drain();
  done({ kind: "failed", error: new QueueError("draining", "stopping") } as never);
  assertRefused(await claim, 503, "draining");
  assertRefused(await read, 503, "draining");
  await node.server.close();
});

test("a close waits for the answers of requests in flight", hasEnd, async () => {
  const node = await startHttp();
  const waiting = new Promise<(outcome: ReturnType<typeof granted>) => void>((resolve) => {
    node.router.onClaim = resolve;
  });
  node.router.answerClaim = () => undefined;
  const claim = node.post("/v1/tasks/claim", { waitSeconds: 20 });
  const done = await waiting;
  const closed = node.server.close();
  done(granted("w", ["1"]));
  assert.equal((await claim).status, 200);
  await closed;
});

test("the metrics have a port of their own that shows nothing else", async () => {
  const metrics = createMetrics();
  metrics.gauge("t_depth", "Depth").set(7);
  const server = createMetricsServer(
    {
      random: createRandom(),
      timers: createTimers(),
      renderMetrics: () => metrics.render(),
    },
    { host: "127.0.0.1", port: 0 },
  );
  const { port } = await server.listen();
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  assert.match(await answer.text(), /^t_depth 7$/mu);
  assert.equal((await fetch(`http://127.0.0.1:${port}/v1/tasks`)).status, 404);
  await server.close();
});
