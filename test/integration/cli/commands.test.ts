/** The commands against a real server: what they do, and what they print for people and programs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePorts, makeDirectory, portsEnv, type Server, startServer } from "../process.ts";
import { reaching, runCli, startCli, startOnTerminal } from "./run.ts";

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

const run = (args: readonly string[], stdin?: string) =>
  runCli(args, { env: reaching(server), ...(stdin !== undefined && { stdin }) });

/** Runs, demands success, and reads the JSON. */
async function ask<T>(args: readonly string[], stdin?: string): Promise<T> {
  const { code, stdout, stderr } = await run(["--json", ...args], stdin);
  assert.equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

interface Task {
  readonly id: string;
  readonly state: string;
  readonly payload: unknown;
  readonly priority: number;
  readonly maxAttempts: number;
  readonly traceParent?: string;
  readonly error?: string;
}

interface Queue {
  readonly ready: number;
  readonly delayed: number;
  readonly dead: number;
  readonly paused: boolean;
}

test("enqueue makes a task with all its options, from argument, file and standard input", async () => {
  const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const args = ["enqueue", "opts", '{"n": 12345678901234567890}', "-p", "7", "--max-attempts", "2"];
  const { id } = await ask<Task>([...args, "--trace-parent", trace]);
  const task = await ask<Task>(["task", "get", id]);
  assert.deepEqual(
    [task.state, task.priority, task.maxAttempts, task.traceParent],
    ["ready", 7, 2, trace],
  );
  const file = join(directory.path, "payload.json");
  writeFileSync(file, '{"from": "file"}');
  const fromFile = await ask<Task>(["enqueue", "opts", "--file", file, "--delay", "3600"]);
  assert.equal((await ask<Task>(["task", "get", fromFile.id])).state, "delayed");
  const piped = await ask<Task>(["enqueue", "opts", "--run-at", "2020-01-01T00:00:00Z"], "[1, 2]");
  assert.deepEqual((await ask<Task>(["task", "get", piped.id])).payload, [1, 2]);
});

test("enqueue with the same key gives the same task", async () => {
  const first = await ask<{ id: string; duplicate: boolean }>(["enqueue", "k", "1", "-k", "key"]);
  const again = await ask<{ id: string; duplicate: boolean }>(["enqueue", "k", "1", "-k", "key"]);
  assert.deepEqual([again.id, again.duplicate], [first.id, true]);
});

test("enqueue --lines makes one task per line, tells of bad ones, and prints ids if asked", async () => {
  const lines = Array.from({ length: 1500 }, (_, i) => String(i)).join("\n");
  const { code, stdout, stderr } = await run(["enqueue", "lines", "--lines", "--ids"], lines);
  assert.equal(code, 0, stderr);
  assert.equal(new Set(stdout.trim().split("\n")).size, 1500);
  assert.equal((await ask<Queue>(["queue", "show", "lines"])).ready, 1500);
  const mixed = await run(["--json", "enqueue", "lines", "--lines"], "1\nnope\n3");
  assert.equal(mixed.code, 65);
  const told = JSON.parse(mixed.stdout) as { created: number; refusals: { line: number }[] };
  assert.equal(told.created, 2);
  assert.deepEqual(
    told.refusals.map(({ line }) => line),
    [2],
  );
});

test("enqueue --wait prints the result; 1 when it failed, 75 when it has not ended", async () => {
  const waiting = startCli(["enqueue", "waited", "20", "--wait", "30"], { env: reaching(server) });
  const worked = await run(["work", "waited", "-n", "1", "--exec", "jq '. + 1' || cat"]);
  assert.equal(worked.code, 0, worked.stderr);
  const { code, stdout } = await waiting.ended;
  assert.equal(code, 0);
  assert.match(stdout, /^2[01]\n$/);
  const failing = startCli(["enqueue", "waited", "1", "--wait", "30"], { env: reaching(server) });
  await run(["work", "waited", "-n", "1", "--exec", "echo no such account >&2; exit 100"]);
  const failed = await failing.ended;
  assert.deepEqual([failed.code, failed.stdout], [1, "failed: no such account\n"]);
  assert.equal((await run(["enqueue", "waited", "1", "--wait", "0"])).code, 75);
});

test("task get, result, cancel and list", async () => {
  const { id } = await ask<Task>(["enqueue", "tasks", '{"to": "a"}']);
  const shown = await run(["task", "get", id]);
  assert.match(shown.stdout, new RegExp(`id +${id}\n`));
  assert.match(shown.stdout, /payload +{"to":"a"}\n/);
  assert.equal((await run(["task", "result", id])).code, 75);
  const canceled = await run(["task", "cancel", id]);
  assert.equal(canceled.stdout, `${id} canceled\n`);
  assert.equal((await run(["task", "result", id])).code, 1);
  for (let i = 0; i < 3; i++) await ask(["enqueue", "tasks", String(i)]);
  const all = await ask<{ tasks: Task[] }>(["task", "list", "-q", "tasks", "--all"]);
  assert.equal(all.tasks.length, 4);
  const ready = await ask<{ tasks: Task[] }>(["task", "list", "-q", "tasks", "-s", "ready"]);
  assert.equal(ready.tasks.length, 3);
  const some = await run(["task", "list", "-q", "tasks", "-n", "2"]);
  assert.equal(some.stdout.trim().split("\n").length, 3);
  const cleaned = await ask<{ deleted: number }>(["task", "cleanup", "--yes"]);
  assert.equal(typeof cleaned.deleted, "number");
});

test("queue list, show, pause, resume, redrive and purge", async () => {
  await ask(["enqueue", "ops", "1", "--max-attempts", "1"]);
  await ask(["enqueue", "ops", "2"]);
  assert.equal((await ask<Queue>(["queue", "pause", "ops"])).paused, true);
  assert.equal((await ask<Queue>(["queue", "show", "ops"])).paused, true);
  assert.equal((await ask<Queue>(["queue", "resume", "ops"])).paused, false);
  await run(["work", "ops", "-n", "1", "--exec", "exit 3"]);
  assert.equal((await ask<Queue>(["queue", "show", "ops"])).dead, 1);
  assert.equal((await ask<{ redriven: number }>(["queue", "redrive", "ops"])).redriven, 1);
  assert.equal((await ask<Queue>(["queue", "show", "ops"])).ready, 2);
  const purge = ["queue", "purge", "ops", "--state", "ready", "dead", "--yes"];
  assert.equal((await ask<{ purged: number }>(purge)).purged, 2);
  const listed = await run(["queue", "list"]);
  assert.match(listed.stdout, /^QUEUE +READY/);
  assert.match(listed.stdout, /^ops +0 /m);
});

test("status shows nodes and shards, exit 0 while all is well", async () => {
  const { code, stdout } = await run(["status"]);
  assert.equal(code, 0);
  assert.match(stdout, /^NODE +REACHABLE/);
  assert.match(stdout, /^SHARD +LEADER/m);
  const told = await ask<{ ok: boolean; groups: unknown[] }>(["status"]);
  assert.deepEqual([told.ok, told.groups.length], [true, 1]);
});

test("profiles give addresses, the environment wins over them, flags over both", async () => {
  const env = { QUORUMQ_PROFILES: join(directory.path, "profiles") };
  const grpc = `127.0.0.1:${server.ports.grpc}`;
  const set = ["profile", "set", "here", "--http", server.url, "--grpc", grpc];
  assert.equal((await runCli(set, { env })).code, 0);
  assert.equal((await runCli(["profile", "use", "here"], { env })).code, 0);
  assert.equal((await runCli(["enqueue", "profiled", "1"], { env })).code, 0);
  assert.equal((await runCli(["profile", "list"], { env })).stdout, "here *\n");
  const elsewhere = { ...env, QUORUMQ_HTTP: "http://127.0.0.1:1" };
  const short = ["--timeout", "0.2", "queue", "list"];
  assert.equal((await runCli(short, { env: elsewhere })).code, 69);
  assert.equal((await runCli([...short, "--http", server.url], { env: elsewhere })).code, 0);
  assert.equal((await runCli(["--profile", "none", "queue", "list"], { env })).code, 78);
  assert.equal((await runCli(["profile", "remove", "here"], { env })).code, 0);
  assert.equal((await runCli(["profile", "list"], { env })).stdout, "");
});

test("a profile with an unknown field, or open to others with a token in it, is refused", async () => {
  const env = { QUORUMQ_PROFILES: join(directory.path, "profiles-bad") };
  const set = ["profile", "set", "odd", "--http", server.url];
  await runCli(set, { env });
  const path = join(env.QUORUMQ_PROFILES, "profiles", "odd.json");
  writeFileSync(path, '{"http": "x", "prot": 1}');
  const unknown = await runCli(["--profile", "odd", "status"], { env });
  assert.deepEqual([unknown.code, /prot/.test(unknown.stderr)], [78, true]);
  const open = join(env.QUORUMQ_PROFILES, "profiles", "open.json");
  writeFileSync(open, '{"token": "secret"}', { mode: 0o644 });
  assert.equal((await runCli(["--profile", "open", "status"], { env })).code, 78);
});

test("bench counts full cycles, loses none, and leaves nothing behind", async () => {
  const args = ["bench", "--seconds", "1", "--warm-up", "0.5", "--batch", "16", "--size", "64"];
  const done = await ask<{ cyclesPerSecond: number; lost: number; completed: number }>(args);
  assert.ok(done.cyclesPerSecond > 0);
  assert.equal(done.lost, 0);
  const { queues } = await ask<{ queues: { queue: string; ready: number }[] }>(["queue", "list"]);
  assert.ok(queues.every(({ queue, ready }) => !queue.startsWith("quorumq-bench") || ready === 0));
});

test("doctor finds a good machine good, and says what is wrong with a bad one", async () => {
  const env = { ...portsEnv(await freePorts()), QUORUMQ_STORAGE_PATH: join(directory.path, "new") };
  const good = await runCli(["doctor"], { env });
  assert.match(good.stdout, /^ok {4}configuration: can be used$/m);
  assert.match(good.stdout, /^\w+ +fsync: median [\d.]+ ms/m);
  assert.match(good.stdout, /^ok {4}http listener: .* is free$/m);
  const nowhere = { ...env, QUORUMQ_STORAGE_PATH: "/no/such/parent" };
  const bad = await runCli(["doctor", "--json"], { env: nowhere });
  assert.equal(bad.code, 1);
  const { ok, checks } = JSON.parse(bad.stdout) as { ok: boolean; checks: { detail: string }[] };
  assert.equal(ok, false);
  assert.ok(checks.some(({ detail }) => detail.includes("parent missing")));
  const wrong = await runCli(["doctor"], { env: { ...env, PORT: "http" } });
  assert.equal(wrong.code, 78);
  assert.match(wrong.stdout, /^FAIL {2}configuration: http\.port/m);
  const used = { ...env, ...portsEnv(server.ports) };
  assert.match(
    (await runCli(["doctor"], { env: used })).stdout,
    /^warn {2}http listener: .* in use/m,
  );
});

test("the completion script completes commands and flags in bash", async () => {
  const { code, stdout } = await run(["completion", "bash"]);
  assert.equal(code, 0);
  assert.match(stdout, /complete .*quorumq/);
  const words = await run(["complete", "--", "queue", "p"]);
  assert.match(words.stdout, /^purge/m);
  assert.match(words.stdout, /^pause/m);
  const flags = await run(["complete", "--", "enqueue", "--pri"]);
  assert.match(flags.stdout, /^--priority/m);
});

test("top shows one block per look where nobody watches, and JSON a line", async () => {
  const { code, stdout } = await run(["top", "-n", "2", "-i", "0.2"]);
  assert.equal(code, 0);
  assert.equal(stdout.match(/^quorumq top/gm)?.length, 2);
  assert.match(stdout, /^NODE +LEADS/m);
  const lines = await run(["--json", "top", "-n", "2", "-i", "0.2"]);
  const views = lines.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { nodes: { id: string }[] });
  assert.deepEqual(
    views.map(({ nodes }) => nodes.length),
    [1, 1],
  );
});

test("top on a terminal is live and colours, q ends it", async () => {
  const top = startOnTerminal(["top", "-i", "0.2"], { env: reaching(server) });
  await top.until("NODE");
  top.child.stdin?.write("q");
  const { code, stdout } = await top.ended;
  assert.equal(code, 0);
  assert.ok(stdout.includes("\u001b[1m"));
  const plain = startOnTerminal(["--no-color", "status"], { env: reaching(server) });
  assert.ok(!(await plain.ended).stdout.includes("\u001b[1m"));
});

test("a long enqueue shows a bar on a terminal", async () => {
  const file = join(directory.path, "lines");
  writeFileSync(file, Array.from({ length: 20_000 }, (_, i) => `{"n":${i}}`).join("\n"));
  const args = ["enqueue", "bar", "--lines", "--file", file];
  const { code, stdout } = await startOnTerminal(args, { env: reaching(server) }).ended;
  assert.equal(code, 0, stdout);
  assert.match(stdout, /enqueue .*%/);
  assert.match(stdout, /20000 created/);
});

test("what a task holds cannot move the cursor of who looks at it", async () => {
  const { id } = await ask<Task>([
    "enqueue",
    "escape",
    '"\\u001b[2J\\u202e"',
    "--max-attempts",
    "1",
  ]);
  await run(["work", "escape", "-n", "1", "--exec", "printf '\\033[31mred' >&2; exit 1"]);
  for (const args of [
    ["task", "get", id],
    ["task", "list", "-q", "escape"],
  ]) {
    const { stdout } = await run(args);
    assert.ok(!stdout.includes("\u001b"), JSON.stringify(stdout));
    assert.ok(!stdout.includes("\u202e"));
  }
});

test("help has examples, and every command has a description", () => {
  const entry = fileURLToPath(new URL("../../../dist/main.cjs", import.meta.url));
  for (const args of [["enqueue"], ["work"], ["queue"], ["profile"]]) {
    const { stdout } = spawnSync(process.execPath, [entry, ...args, "--help"], {
      encoding: "utf8",
    });
    assert.match(stdout, /^Examples:/m, args.join(" "));
  }
});
