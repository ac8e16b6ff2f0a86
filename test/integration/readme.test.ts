/**
 * Every example in README.md is run: a code block that no test here takes is a failure, so an
 * example cannot rot unseen. Ports and paths are replaced by the test's own.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Cluster, type ClusterNode } from "./cluster/cluster.ts";
import { makeDirectory, runQuorumq, type Server, startServer } from "./process.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

interface Block {
  readonly language: string;
  readonly text: string;
  taken: boolean;
}

const blocks: Block[] = [
  ...readFileSync(join(root, "README.md"), "utf8").matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm),
].map((match) => ({ language: match[1] ?? "", text: match[2] ?? "", taken: false }));

/** The one block of a language that holds the text; marks it as taken. */
function block(language: string, holds: string): string {
  const found = blocks.filter((b) => b.language === language && b.text.includes(holds));
  assert.equal(found.length, 1, `one ${language} block with "${holds}"`);
  const [only] = found as [Block];
  only.taken = true;
  return only.text;
}

describe("README.md", () => {
  const directory = makeDirectory();
  let server: Server;

  before(async () => {
    server = await startServer(join(directory.path, "data"));
  });

  after(async () => {
    server.signal("SIGTERM");
    await server.ended;
    directory.remove();
  });

  test("the two commands are the package's scripts, and CI runs the second from a clean clone", () => {
    const scripts = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).scripts;
    assert.equal(block("sh", "npm start").trim(), "npm ci && npm start");
    assert.equal(block("sh", "npm test").trim(), "npm ci && npm test");
    assert.match(scripts.start, /dist\/main\.cjs serve$/);
    assert.equal(typeof scripts.test, "string");
    assert.match(readFileSync(join(root, ".ci/run"), "utf8"), /npm test/);
  });

  // npx makes it so only when it sees the folder for the first time
  test("the build leaves a command that may be executed", () => {
    assert.notEqual(statSync(join(root, "dist/main.cjs")).mode & 0o100, 0);
  });

  test("the way of a task by curl ends in its result", async () => {
    const script = block("sh", "leaseToken").replaceAll(
      "localhost:8080",
      `127.0.0.1:${server.ports.http}`,
    );
    const { stdout } = await run("bash", ["-euc", script], { cwd: directory.path });
    const [created, settled, read, ...more] = stdout.trimEnd().split("\n");
    assert.deepEqual(more, []);
    assert.match(created ?? "", /"state":"ready"/);
    const result = /"status":"COMPLETED","result":\{"sent": true\}/;
    assert.match(settled ?? "", result);
    assert.match(read ?? "", result);
    assert.match(read ?? "", /"state":"completed"/);
  });

  test("the way of a task by the command line ends in its result", async () => {
    const env = {
      ...process.env,
      QUORUMQ_HTTP: server.url,
      QUORUMQ_GRPC: `127.0.0.1:${server.ports.grpc}`,
    };
    const script = block("sh", "npx quorumq");
    const { stdout } = await run("bash", ["-euc", script], { cwd: root, env });
    const id = stdout.split("\n")[0] ?? "";
    const answer = await fetch(`${server.url}/v1/tasks/${id}/result`);
    const { result } = (await answer.json()) as { result: { result: unknown } };
    assert.deepEqual(result.result, { to: "ada@example.org" });
  });

  test("every command is in the table of commands", async () => {
    const readme = readFileSync(join(root, "README.md"), "utf8");
    const section = readme.slice(readme.indexOf("## Command line"), readme.indexOf("## HTTP"));
    const cells = [...section.matchAll(/^\| ([a-z][^|]*?) \|/gm)].map((match) => match[1] ?? "");
    const told = cells.flatMap((cell) => cell.split(/[^a-z]+/));
    const { stdout } = await runQuorumq(["--help"]);
    const list = stdout.slice(stdout.indexOf("Commands:"), stdout.indexOf("Exit codes"));
    const names = [...list.matchAll(/^ {2}([a-z]+)\b/gm)].map((match) => match[1] ?? "");
    assert.ok(names.length > 10);
    const missing = names.filter((name) => name !== "help" && !told.includes(name));
    assert.deepEqual(missing, []);
  });

  test("producer and worker in JavaScript", async () => {
    const script = block("js", "createWorker").replaceAll(
      "127.0.0.1:9092",
      `127.0.0.1:${server.ports.grpc}`,
    );
    const args = ["--input-type=module", "--eval", script];
    const { stdout } = await run(process.execPath, args, { cwd: root, timeout: 20_000 });
    const id = /created (\S+)/.exec(stdout)?.[1];
    assert.ok(id, stdout);
    const answer = await fetch(`${server.url}/v1/tasks/${id}/result?waitSeconds=5`);
    const { task, result } = (await answer.json()) as {
      task: { priority: number };
      result: { result: unknown };
    };
    assert.equal(task.priority, 5);
    assert.deepEqual(result.result, { done: "cat.png" });
  });

  test("the tokens file is taken", async () => {
    const path = join(directory.path, "tokens.yaml");
    writeFileSync(path, block("yaml", "tokenSha256"));
    chmodSync(path, 0o600);
    const guarded = await startServer(join(directory.path, "guarded"), { AUTH_TOKENS_FILE: path });
    const ask = (token: string) =>
      fetch(`${guarded.url}/v1/tasks`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: '{"command":"mail","payload":1}',
      });
    assert.equal((await ask("a-long-random-text-of-32-bytes-or-more")).status, 202);
    assert.equal((await ask("another-long-random-text-of-32-bytes-or-more")).status, 401);
    guarded.signal("SIGTERM");
    await guarded.ended;
  });

  test("the configuration is taken", async () => {
    const path = join(directory.path, "quorumq.yaml");
    writeFileSync(path, block("yaml", "retention"));
    const { code, stdout } = await runQuorumq(["config", "--config", path, "--json"]);
    assert.equal(code, 0);
    assert.match(stdout, /\/var\/lib\/quorumq/);
  });

  test("the Docker commands name files that are there", () => {
    for (const text of [block("sh", "docker build"), block("sh", "up -d --build")]) {
      for (const [path] of text.matchAll(/deploy\/\S+/g)) readFileSync(join(root, path));
    }
  });

  test("members are added and removed, and leadership is handed over, by the commands", async () => {
    const cluster = await Cluster.start();
    try {
      const [node] = cluster.nodes as [ClusterNode];
      const fourth = await cluster.prepare("n4");
      await fourth.launch();
      const script = block("sh", "admin/members")
        .replaceAll("localhost:8080", `127.0.0.1:${node.ports.http}`)
        .replaceAll("10.0.0.4:7000", `127.0.0.1:${fourth.raftPort}`);
      const { stdout } = await run("bash", ["-euc", script]);
      const answers = stdout.split("}{").map((text) => `{${text.replace(/^\{|\}$/g, "")}}`);
      const [added, removed, moved] = answers.map(
        (text) => JSON.parse(text) as { readonly voters: string[]; readonly learners: string[] },
      );
      assert.ok(added && [...added.voters, ...added.learners].includes("n4"), stdout);
      assert.ok(removed && !removed.voters.includes("n2"), stdout);
      assert.ok(moved, stdout);
      assert.equal((await cluster.leader()).id, "n3");
    } finally {
      await cluster.stop();
    }
  });

  test("no block is left over", () => {
    const left = blocks.filter((b) => !b.taken);
    assert.deepEqual(left, []);
  });
});
