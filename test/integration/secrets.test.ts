/**
 * No secret is told: tokens, the nodes' shared secret, payloads, results and keys stand in no log, no error,
 * no metric and no output of `config`, with the log at its most talkative. (process.ts looks through
 * everything that any server of these tests writes.)
 */
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createProducer, createWorker } from "../../src/client/index.ts";
import { canary, makeDirectory, runQuorumq, type Server, startServer } from "./process.ts";

const long = "x".repeat(32);
const producer = `${canary}-producer-${long}`;
const worker = `${canary}-worker-${long}`;
const admin = `${canary}-admin-${long}`;
const unknown = `${canary}-unknown-${long}`;

const directory = makeDirectory();
const tokens = join(directory.path, "tokens.yaml");
const secrets = {
  PRODUCER_AUTH_CONFIG: JSON.stringify({ token: producer, subject: "p" }),
  WORKER_AUTH_CONFIG: JSON.stringify({ token: worker, subject: "w" }),
  AUTH_TOKENS_FILE: tokens,
  QUORUMQ_RAFT_SECRET: `${canary}-raft-${long}`,
  QUORUMQ_LOG_LEVEL: "debug",
};
let server: Server;
/** Everything that was answered. */
const told: string[] = [];

before(async () => {
  writeFileSync(tokens, `- {token: "${admin}", subject: a, roles: [admin]}\n`);
  chmodSync(tokens, 0o600);
  server = await startServer(join(directory.path, "data"), secrets);
});
after(async () => {
  server.signal("SIGTERM");
  // Rejects if any line of its output holds a secret.
  await server.ended;
  directory.remove();
});

async function ask(
  method: string,
  path: string,
  token: string,
  body?: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
  });
  told.push(JSON.stringify([...response.headers]), await response.text());
  return response.status;
}

describe("secrets", () => {
  test("stay out of errors", async () => {
    const task = { command: "q", payload: { card: canary } };
    for (const path of ["/v1/tasks", "/v1/tasks/batch", "/v1/tasks/claim", "/v1/admin/queues"]) {
      assert.equal((await ask("POST", path, unknown, JSON.stringify(task))) >= 400, true);
      assert.equal((await ask("GET", path, unknown)) >= 400, true);
    }
    const bad = [
      `{"command":"q","payload":"${canary}`,
      `{"command":"q","payload":"${canary}","priority":99}`,
      `{"command":"q","payload":{"a":"${canary}","a":1}}`,
      `{"command":"q","payload":1,"webhook":"ftp://u:${canary}@h"}`,
      `{"command":"q","payload":1,"idempotencyKey":"${canary}${"k".repeat(300)}"}`,
      `{"tasks":[{"command":"q","payload":"${canary}","maxAttempts":0}]}`,
    ];
    for (const body of bad) assert.equal(await ask("POST", "/v1/tasks", producer, body), 400);
    assert.equal(await ask("GET", "/v1/tasks", `${producer} ${canary}`), 401);
    assert.equal(await ask("GET", "/v1/admin/queues", producer), 403);
    const key = { "idempotency-key": canary };
    const first = JSON.stringify(task);
    assert.equal(await ask("POST", "/v1/tasks", producer, first.replace(canary, "1"), key), 202);
    assert.equal(await ask("POST", "/v1/tasks", producer, first.replace(canary, "2"), key), 409);
    assert.doesNotMatch(told.join("\n"), new RegExp(canary, "u"));
  });

  test("stay out of streams' ends, and of the work that is done over them", async () => {
    const wrong = createProducer({ endpoints: `127.0.0.1:${server.ports.grpc}`, token: unknown });
    await assert.rejects(wrong.enqueue("q", 1), (error: Error) => !String(error).includes(canary));
    await wrong.close().catch(() => undefined);
    const connect = { endpoints: `127.0.0.1:${server.ports.grpc}` };
    const done = new Promise<void>((resolve) => {
      const work = createWorker(
        { ...connect, token: worker },
        {
          queues: ["stream"],
          handler: async () => {
            resolve();
            return { secret: canary };
          },
        },
      );
      running = work;
    });
    await running?.start();
    const good = createProducer({ ...connect, token: producer });
    await good.enqueue("stream", { secret: canary });
    await done;
    await good.close();
    await running?.stop();
  });
  let running: ReturnType<typeof createWorker> | null = null;

  test("stay out of metrics, health and what is told of the cluster", async () => {
    const from = told.length;
    for (const path of ["/metrics", "/health", "/readyz", "/cluster/nodes", "/openapi.json"]) {
      assert.equal(await ask("GET", path, admin), 200);
    }
    assert.equal(await ask("GET", "/v1/raft/status", admin), 200);
    assert.equal(await ask("GET", "/v1/admin/queues", admin), 200);
    assert.equal(await ask("POST", "/v1/admin/queues/q/redrive", admin), 200);
    const metrics = await fetch(`http://127.0.0.1:${server.ports.metrics}/metrics`);
    told.push(await metrics.text());
    assert.doesNotMatch(told.slice(from).join("\n"), new RegExp(canary, "u"));
  });

  test("are masked by config, in both forms", async () => {
    for (const args of [["config"], ["config", "--json"]]) {
      const { code, stdout } = await runQuorumq(args, secrets);
      assert.equal(code, 0);
      assert.match(stdout, /raft/u);
    }
  });

  test("stay out of the reasons not to start", async () => {
    const bad = [
      { PRODUCER_AUTH_CONFIG: `{"token": "${canary}` },
      { PRODUCER_AUTH_CONFIG: JSON.stringify({ token: `${canary} with spaces`, subject: "p" }) },
      { PRODUCER_AUTH_CONFIG: JSON.stringify({ token: canary, subject: "", raw: canary }) },
      { QUORUMQ_RAFT_SECRET: `${canary}\u0007` },
    ];
    for (const env of bad) {
      const path = join(directory.path, "refused");
      const { code } = await runQuorumq(["serve"], { QUORUMQ_STORAGE_PATH: path, ...env });
      assert.equal(code, 78, JSON.stringify(env));
    }
    writeFileSync(tokens, `- {token: "${canary} x", subject: a, roles: [admin]}\n`);
    const env = { AUTH_TOKENS_FILE: tokens, QUORUMQ_STORAGE_PATH: join(directory.path, "refused") };
    assert.equal((await runQuorumq(["serve"], env)).code, 78);
    writeFileSync(tokens, `- {token: "${canary}": [}\n`);
    assert.equal((await runQuorumq(["serve"], env)).code, 78);
    // a reload that fails is logged
    server.signal("SIGHUP");
    while (!server.output.stdout.includes("tokens not read")) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});
