/** A node's life as a process: start, stop, signals, a second process, a kill in the middle. */
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, test } from "node:test";
import {
  freePorts,
  makeDirectory,
  portsEnv,
  runQuorumq,
  type Server,
  startServer,
} from "./process.ts";

const directories: { remove(): void }[] = [];
const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.signal("SIGKILL");
    await server.ended;
  }
  for (const one of directories.splice(0)) one.remove();
});

function directory(): string {
  const one = makeDirectory();
  directories.push(one);
  return one.path;
}

async function start(path: string, env: Readonly<Record<string, string>> = {}): Promise<Server> {
  const server = await startServer(join(path, "data"), env);
  servers.push(server);
  return server;
}

const json = { "content-type": "application/json" };

async function create(server: Server, payload: unknown, headers = {}): Promise<Response> {
  const body = JSON.stringify({ command: "q", payload });
  return await fetch(`${server.url}/v1/tasks`, {
    method: "POST",
    headers: { ...json, ...headers },
    body,
  });
}

async function idOf(response: Response): Promise<string> {
  assert.equal(response.status, 202);
  return ((await response.json()) as { readonly id: string }).id;
}

describe("a node as a process", () => {
  test("SIGTERM and SIGINT end it with 0, and what it acknowledged is there again", async () => {
    const path = directory();
    const first = await start(path);
    const id = await idOf(await create(first, { n: 1 }));
    first.signal("SIGTERM");
    assert.equal((await first.ended).code, 0);
    const second = await start(path);
    const task = await fetch(`${second.url}/v1/tasks/${id}`);
    assert.deepEqual(((await task.json()) as { payload: unknown }).payload, { n: 1 });
    second.signal("SIGINT");
    assert.equal((await second.ended).code, 0);
  });

  test("a kill loses nothing that was acknowledged", async () => {
    const path = directory();
    const first = await start(path);
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => create(first, i)));
    const ids = await Promise.all(answers.map(idOf));
    first.signal("SIGKILL");
    assert.equal((await first.ended).code, "SIGKILL");
    const second = await start(path);
    for (const [i, id] of ids.entries()) {
      const task = (await (await fetch(`${second.url}/v1/tasks/${id}`)).json()) as {
        payload: unknown;
      };
      assert.equal(task.payload, i);
    }
  });

  test("a waiting claim is answered when it stops", async () => {
    const server = await start(directory());
    const claim = fetch(`${server.url}/v1/tasks/claim`, {
      method: "POST",
      headers: json,
      body: '{"commands":["none"],"waitSeconds":30}',
    });
    // the claim is in when a later request on another connection has been answered
    assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
    server.signal("SIGTERM");
    const { status } = await claim.catch(() => ({ status: 0 }));
    assert.ok([204, 503].includes(status), String(status));
    assert.equal((await server.ended).code, 0);
  });

  test("5.4-12 a second process on its directory is refused with 78", async () => {
    const path = directory();
    await start(path);
    const env = { ...portsEnv(await freePorts()), QUORUMQ_DEV: "true" };
    const { code, stderr } = await runQuorumq(["serve"], env, path);
    assert.equal(code, 78, stderr);
    assert.match(stderr, /^quorumq: .*in use by another process\n$/);
  });

  test("a port in use is refused with 78", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const address = taken.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const env = { ...portsEnv(await freePorts()), PORT: String(port), QUORUMQ_DEV: "true" };
    const { code, stderr } = await runQuorumq(["serve"], env, directory());
    taken.close();
    assert.match(stderr, /EADDRINUSE/);
    assert.equal(code, 78, stderr);
  });

  test("SIGHUP takes a new token, and a broken file leaves the old ones in force", async () => {
    const path = directory();
    const file = join(path, "tokens.json");
    const write = (...tokens: readonly string[]) => {
      const entries = tokens.map((token) => ({ token, subject: "s", roles: ["producer"] }));
      writeFileSync(file, tokens.length === 0 ? "[" : JSON.stringify(entries));
      chmodSync(file, 0o600);
    };
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    const logged = async (server: Server, text: string) => {
      for (let i = 0; i < 500 && !server.output.stdout.includes(text); i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.ok(server.output.stdout.includes(text), server.output.stdout);
    };
    write("first");
    const server = await start(path, { AUTH_TOKENS_FILE: file });
    assert.equal((await create(server, 1, bearer("first"))).status, 202);
    assert.equal((await create(server, 1, bearer("second"))).status, 401);
    write("second");
    server.signal("SIGHUP");
    await logged(server, "tokens read again");
    assert.equal((await create(server, 1, bearer("second"))).status, 202);
    assert.equal((await create(server, 1, bearer("first"))).status, 401);
    write();
    server.signal("SIGHUP");
    await logged(server, "those in force stay");
    assert.equal((await create(server, 1, bearer("second"))).status, 202);
  });
});
