/** Commands against a server that answers by a script: what a real one does only when it is huge. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { afterEach, test } from "node:test";
import { freePorts, makeDirectory, portsEnv } from "../process.ts";
import { runCli } from "./run.ts";

let server: Server | undefined;
afterEach(() => server?.close());

interface Seen {
  readonly path: string;
  readonly body: { readonly limit?: number };
}

/** Answers with these in turn, the last one again and again. */
async function script(answers: readonly object[]): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    request.on("end", () => {
      const answer = answers[Math.min(seen.length, answers.length - 1)];
      seen.push({ path: request.url ?? "", body: text === "" ? {} : JSON.parse(text) });
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(answer));
    });
  });
  const listening = server;
  const { http } = await freePorts();
  await new Promise<void>((resolve) => listening.listen(http, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${http}`, seen };
}

test("purge goes on while the server has more, and adds up", async () => {
  const { url, seen } = await script([
    { purged: 100_000 },
    { purged: 40, more: true },
    { purged: 7 },
  ]);
  const args = ["--json", "--http", url, "queue", "purge", "q", "--state", "dead", "--yes"];
  const { code, stdout } = await runCli(args);
  assert.deepEqual([code, JSON.parse(stdout)], [0, { queue: "q", purged: 100_047 }]);
  assert.equal(seen.length, 3);
});

test("redrive stops at its limit, and asks for no more than is left of it", async () => {
  const { url, seen } = await script([{ redriven: 100_000 }, { redriven: 20_000 }]);
  const args = ["--json", "--http", url, "queue", "redrive", "q", "--limit", "120000"];
  const { code, stdout } = await runCli(args);
  assert.deepEqual([code, JSON.parse(stdout)], [0, { queue: "q", redriven: 120_000 }]);
  assert.deepEqual(
    seen.map(({ body }) => body.limit),
    [100_000, 20_000],
  );
});

test("doctor looks at the peers: one that answers, one that does not, another version", async () => {
  const { url } = await script([{ nodes: [{ id: "n2", version: "99.0.0" }], leader: "n2" }]);
  const { host } = new URL(url);
  const directory = makeDirectory();
  const ports = await freePorts();
  const env = {
    ...portsEnv(ports),
    QUORUMQ_STORAGE_PATH: `${directory.path}/data`,
    RAFT_ENABLED: "true",
    RAFT_SELF_ID: "n1",
    RAFT_BIND_ADDR: `127.0.0.1:${ports.metrics + 1}`,
    RAFT_PEERS: `n1=127.0.0.1:${ports.metrics + 1},n2=${host},n3=127.0.0.1:1`,
    RAFT_PEER_HTTP_ADDRS: `n2=${url}`,
  };
  const { stdout } = await runCli(["doctor", "--json"], { env });
  const { checks } = JSON.parse(stdout) as {
    checks: { name: string; level: string; detail: string }[];
  };
  const of = (name: string) => checks.filter((check) => check.name === name);
  assert.deepEqual(
    of("peer n2").map(({ level, detail }) => [level, /answers|99\.0\.0/.exec(detail)?.[0]]),
    [
      ["ok", "answers"],
      ["warn", "99.0.0"],
    ],
  );
  assert.deepEqual(
    of("peer n3").map(({ level }) => level),
    ["warn"],
  );
  directory.remove();
});
