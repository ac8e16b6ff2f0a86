/**
 * What a node leaves in its log: a line of JSON per start, stop, refusal, slow request and admin action, with
 * the id that the caller was told, and none for what went well.
 */
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { canary, makeDirectory, type Server, startServer } from "./process.ts";

const slowMs = 50;
const admin = `${canary}-admin-${"x".repeat(32)}`;
const directory = makeDirectory();
let server: Server;

type Line = Readonly<Record<string, unknown>>;

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly requestId: string;
}

before(async () => {
  const tokens = join(directory.path, "tokens.yaml");
  writeFileSync(tokens, `- {token: "${admin}", subject: ada, roles: [admin, producer, worker]}\n`);
  chmodSync(tokens, 0o600);
  server = await startServer(join(directory.path, "data"), {
    AUTH_TOKENS_FILE: tokens,
    QUORUMQ_HTTP_SLOW_MS: String(slowMs),
  });
});
after(async () => {
  server.signal("SIGKILL");
  await server.ended;
  directory.remove();
});

function lines(output = server.output.stdout): Line[] {
  return output
    .split("\n")
    .filter((text) => text !== "")
    .map((text) => JSON.parse(text) as Line);
}

/** Its lines, without the time. */
function linesOf(requestId: string): Line[] {
  return lines()
    .filter((line) => line["requestId"] === requestId)
    .map(({ time: _, requestId: __, ...rest }) => rest);
}

/** Lines are written before what follows on the same connection is answered. */
async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = { authorization: `Bearer ${admin}` },
): Promise<Answer> {
  const answer = await fetch(`${server.url}${path}`, {
    method,
    headers: { ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  await fetch(`${server.url}/livez`);
  return {
    status: answer.status,
    body: text,
    requestId: answer.headers.get("x-request-id") ?? "",
  };
}

test("a start leaves where it listens, and that it serves", () => {
  const [listens, ...more] = lines().filter((line) => line["text"] === "node listens");
  assert.deepEqual(more, []);
  const { http, grpc, metrics } = server.ports;
  assert.deepEqual(
    [listens?.["http"], listens?.["grpc"], listens?.["metrics"]],
    [http, grpc, metrics].map((port) => `127.0.0.1:${port}`),
  );
  const serves = lines().filter((line) => line["text"] === "node serves");
  assert.deepEqual(
    serves.map((line) => [line["level"], line["node"], line["shards"]]),
    [["info", "node1", 1]],
  );
});

test("every line has level, time and text", () => {
  for (const { level, time, text } of lines()) {
    assert.match(String(level), /^(info|warn|error)$/);
    assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(typeof text, "string");
  }
});

test("what went well leaves none", async () => {
  const created = await ask("POST", "/v1/tasks", { command: "mail", payload: 1 });
  assert.equal(created.status, 202);
  assert.notEqual(created.requestId, "");
  assert.deepEqual(
    linesOf(created.requestId).filter((line) => line["text"] !== "slow request"),
    [],
  );
});

test("a refused request leaves one, with who asked if that is known", async () => {
  const bad = await ask("POST", "/v1/tasks", { command: "mail" });
  assert.equal(bad.status, 400);
  assert.equal(JSON.parse(bad.body).requestId, bad.requestId);
  const line = {
    level: "info",
    method: "POST",
    route: "/v1/tasks",
    code: "invalid_argument",
    from: "127.0.0.1",
    subject: "ada",
    tenant: "default",
    text: "request refused",
  };
  assert.deepEqual(linesOf(bad.requestId), [line]);
  const stranger = await ask("POST", "/v1/tasks", { command: "mail", payload: 1 }, {});
  assert.equal(stranger.status, 401);
  const { subject: _, tenant: __, ...unknown } = { ...line, code: "unauthenticated" };
  assert.deepEqual(linesOf(stranger.requestId), [unknown]);
});

test("so do bytes that are no HTTP, and a CONNECT", async () => {
  for (const [bytes, code] of [
    ["NONSENSE\r\n\r\n", "invalid_argument"],
    ["CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed"],
  ] as const) {
    const requestId = requestIdIn(await speak(bytes));
    await fetch(`${server.url}/livez`);
    assert.deepEqual(linesOf(requestId), [{ level: "info", code, text: "request refused" }]);
  }
});

test("a slow request leaves one, and one that waited for work none", async () => {
  const body = JSON.stringify({ command: "slow", payload: 1 });
  const answer = await speak(
    [
      "POST /v1/tasks HTTP/1.1",
      "host: localhost",
      `authorization: Bearer ${admin}`,
      "content-type: application/json",
      `content-length: ${body.length}`,
      "expect: 100-continue",
      "connection: close",
      "\r\n",
    ].join("\r\n"),
    async () => {
      // the node has the headers: from now on it counts
      const from = performance.now();
      while (performance.now() - from < 2 * slowMs) await fetch(`${server.url}/livez`);
      return body;
    },
  );
  const requestId = requestIdIn(answer);
  await fetch(`${server.url}/livez`);
  const [{ ms, ...line } = {}, ...more] = linesOf(requestId);
  assert.deepEqual(more, []);
  assert.deepEqual(line, {
    level: "info",
    route: "/v1/tasks",
    status: 202,
    text: "slow request",
  });
  assert.ok(Number(ms) >= 2 * slowMs, String(ms));
  const waited = await ask("POST", "/v1/tasks/claim", { commands: ["none"], waitSeconds: 1 });
  assert.equal(waited.status, 204);
  assert.deepEqual(linesOf(waited.requestId), []);
});

interface Operation {
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly example?: unknown }>>;
  };
}

test("every admin action leaves one, with who asked for it, done or not", async () => {
  const { paths } = JSON.parse((await ask("GET", "/openapi.json")).body) as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  };
  const actions = Object.entries(paths)
    .filter(([path]) => path.startsWith("/admin/"))
    .flatMap(([path, methods]) =>
      Object.entries(methods).flatMap(([method, operation]) =>
        method === "get" ? [] : [{ path, method: method.toUpperCase(), operation }],
      ),
    );
  assert.ok(actions.length >= 8, `${actions.length} actions`);
  const names = new Set<unknown>();
  for (const { path, method, operation } of actions) {
    const full = `/v1${path.replace("{command}", "mail").replace("{id}", "n9")}`;
    const example = operation.requestBody?.content["application/json"]?.example;
    const { requestId, status } = await ask(method, full, example);
    // a node without Raft refuses to change its members
    const isRefused = path.startsWith("/admin/members") || path.startsWith("/admin/leader");
    const text = isRefused ? "request refused" : "admin action";
    const audited = linesOf(requestId).filter((line) => line["text"] === text);
    assert.equal(audited.length, 1, `${method} ${full}: ${status}`);
    const [line] = audited;
    assert.deepEqual([line?.["subject"], line?.["tenant"]], ["ada", "default"]);
    assert.equal(line?.["queue"], path.includes("{command}") ? "mail" : undefined);
    names.add(isRefused ? `${method} ${line?.["route"]}` : line?.["action"]);
  }
  assert.equal(names.size, actions.length, "each has a name of its own");
});

test("a stop leaves why, and is the last line", async () => {
  server.signal("SIGTERM");
  const { code, stdout } = await server.ended;
  assert.equal(code, 0);
  const stops = lines(stdout).filter((line) => line["text"] === "stopping");
  assert.deepEqual(
    stops.map((line) => line["signal"]),
    ["SIGTERM"],
  );
  assert.equal(lines(stdout).at(-1)?.["text"], "stopped");
});

function requestIdIn(answer: string): string {
  return /^x-request-id: (\S+)/im.exec(answer)?.[1] ?? "";
}

/** Sends bytes, and more once the node has answered with 100. @returns all that it answered */
function speak(bytes: string, onContinue?: () => Promise<string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.ports.http, "127.0.0.1", () => socket.write(bytes));
    let answer = "";
    let isContinued = false;
    socket.setEncoding("latin1").on("data", (text: string) => {
      answer += text;
      if (isContinued || onContinue === undefined || !answer.startsWith("HTTP/1.1 100")) return;
      isContinued = true;
      onContinue().then((more) => socket.write(more), reject);
    });
    socket.on("end", () => resolve(answer));
    socket.on("error", reject);
  });
}
