/** `quorumq work`: a command per task, and how each can end. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeDirectory, type Server, startServer } from "../process.ts";
import { reaching, runCli, startCli } from "./run.ts";

const directory = makeDirectory();
let server: Server;

before(async () => {
  server = await startServer(join(directory.path, "data"), {
    BACKOFF_POLICY: "fixed",
    BACKOFF_BASE_SECONDS: "60",
  });
});

after(async () => {
  server.signal("SIGTERM");
  await server.ended;
  directory.remove();
});

const env = () => reaching(server);
const run = (args: readonly string[]) => runCli(args, { env: env() });

interface Task {
  readonly state: string;
  readonly attempts: number;
  readonly error?: string;
}

async function enqueue(queue: string, payload: string, ...flags: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(["enqueue", queue, payload, ...flags]);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

async function taskOf(id: string): Promise<Task> {
  return JSON.parse((await run(["--json", "task", "get", id])).stdout) as Task;
}

async function resultOf(id: string): Promise<unknown> {
  const { stdout } = await run(["--json", "task", "result", id]);
  return (JSON.parse(stdout) as { result: { result?: unknown } | null }).result?.result;
}

test("the payload is on standard input, the task in the environment, the output is the result", async () => {
  const id = await enqueue("echo", '{"a": [1, 2]}');
  const command =
    'printf \'{"in": %s, "id": "%s", "n": %s}\' "$(cat)" "$QUORUMQ_TASK_ID" "$QUORUMQ_TASK_ATTEMPT"';
  const { code, stderr } = await run(["work", "echo", "-n", "1", "--exec", command]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await resultOf(id), { in: { a: [1, 2] }, id, n: 1 });
});

test("output that is no JSON is kept as text, none as no result, --no-result keeps nothing", async () => {
  const [text, none, dropped] = [
    await enqueue("out-1", "1"),
    await enqueue("out-2", "1"),
    await enqueue("out-3", "1"),
  ];
  await run(["work", "out-1", "-n", "1", "--exec", "echo hello; echo world"]);
  await run(["work", "out-2", "-n", "1", "--exec", "true"]);
  await run(["work", "out-3", "-n", "1", "--no-result", "--exec", "echo 5"]);
  assert.equal(await resultOf(text), "hello\nworld");
  assert.equal(await resultOf(none), undefined);
  assert.equal(await resultOf(dropped), undefined);
});

test("another exit code is a failed attempt with the last line of standard error as its reason", async () => {
  const id = await enqueue("retry", "1");
  const worked = await run([
    "--json",
    "work",
    "retry",
    "-n",
    "1",
    "--exec",
    "echo bad day >&2; exit 7",
  ]);
  assert.equal(worked.code, 0);
  const event = JSON.parse(worked.stdout) as { event: string; reason: string };
  assert.deepEqual([event.event, event.reason], ["retry", "exit 7: bad day"]);
  const task = await taskOf(id);
  assert.deepEqual([task.state, task.attempts, task.error], ["delayed", 1, "exit 7: bad day"]);
});

test("exit code 100 fails the task for good, --fail-code chooses another", async () => {
  const [usual, chosen] = [await enqueue("fail-1", "1"), await enqueue("fail-2", "1")];
  await run(["work", "fail-1", "-n", "1", "--exec", "exit 100"]);
  await run(["work", "fail-2", "-n", "1", "--fail-code", "9", "--exec", "exit 9"]);
  assert.equal((await taskOf(usual)).state, "failed");
  assert.equal((await taskOf(chosen)).state, "failed");
});

test("a command over its time is ended with all it started", async () => {
  const id = await enqueue("late", "1");
  const command = "sleep 600 & sleep 600";
  const args = ["work", "late", "-n", "1", "--time-limit", "0.2", "--exec", command];
  const { code } = await run(args);
  assert.equal(code, 0);
  assert.equal((await taskOf(id)).error, "command over 0.2 s");
});

test("a result over the limit fails the task with the reason", async () => {
  const id = await enqueue("large", "1");
  await run(["work", "large", "-n", "1", "--exec", "head -c 1100000 /dev/zero"]);
  const task = await taskOf(id);
  assert.equal(task.state, "failed");
  assert.match(task.error ?? "", /1100000 bytes/);
});

test("commands run side by side up to --concurrency", async () => {
  for (let i = 0; i < 4; i++) await enqueue("side", String(i));
  // each waits until all four have begun
  const folder = join(directory.path, "side");
  const command = `mkdir -p ${folder}; touch ${folder}/$QUORUMQ_TASK_ID; while [ $(ls ${folder} | wc -l) -lt 4 ]; do sleep 0.05; done`;
  const { code } = await run(["work", "side", "-c", "4", "-n", "4", "--exec", command]);
  assert.equal(code, 0);
});

test("--idle ends a worker that finds nothing", async () => {
  assert.equal((await run(["work", "nothing", "--idle", "0.3", "--exec", "true"])).code, 0);
});

test("a lease is renewed while the command runs", async () => {
  const id = await enqueue("long", "1");
  const args = ["work", "long", "-n", "1", "--lease", "1", "--exec", "sleep 2.5"];
  assert.equal((await run(args)).code, 0);
  const task = await taskOf(id);
  assert.deepEqual([task.state, task.attempts], ["completed", 1]);
});

test("SIGTERM lets a command end, then exit 0", async () => {
  const id = await enqueue("grace", "1");
  const gate = join(directory.path, "gate");
  const command = `echo begun >&2; while [ ! -e ${gate} ]; do sleep 0.05; done`;
  const work = startCli(["work", "grace", "--exec", command], { env: env() });
  await work.until("begun");
  work.child.kill("SIGTERM");
  await work.until("a second signal ends them");
  writeFileSync(gate, "");
  assert.equal((await work.ended).code, 0);
  assert.equal((await taskOf(id)).state, "completed");
});

test("after --grace, or a second signal, the command is ended and its task handed back", async () => {
  for (const [queue, flags, signals] of [
    ["grace-over", ["--grace", "0.2"], 1],
    ["twice", ["--grace", "600"], 2],
  ] as const) {
    const id = await enqueue(queue, "1");
    const args = ["work", queue, ...flags, "--exec", "echo begun >&2; exec sleep 600"];
    const work = startCli(args, { env: env() });
    await work.until("begun");
    work.child.kill("SIGTERM");
    await work.until("a second signal ends them");
    if (signals === 2) work.child.kill("SIGTERM");
    const { code } = await work.ended;
    assert.ok(code === 0 || code === 130, String(code));
    const task = await taskOf(id);
    assert.deepEqual([task.state, task.attempts], ["ready", 0], queue);
  }
});

test("a command whose task is canceled is ended", async () => {
  const id = await enqueue("canceled", "1");
  const work = startCli(["work", "canceled", "--exec", "echo begun >&2; exec sleep 600"], {
    env: env(),
  });
  await work.until("begun");
  assert.equal((await run(["task", "cancel", id])).code, 0);
  await work.until("command stopped");
  work.child.kill("SIGTERM");
  assert.equal((await work.ended).code, 0);
  assert.equal((await taskOf(id)).state, "canceled");
});

test("a server that goes away and comes back is found again", async () => {
  const data = join(directory.path, "restarted");
  const first = await startServer(data);
  const work = startCli(["work", "again", "-n", "1", "--exec", "cat"], { env: reaching(first) });
  await runCli(["work", "x", "--idle", "0.3", "--exec", "true"], { env: reaching(first) });
  first.signal("SIGKILL");
  await first.ended;
  const second = await startServer(data, {}, first.ports);
  const done = await runCli(["enqueue", "again", "5"], { env: reaching(second) });
  assert.equal(done.code, 0, done.stderr);
  assert.equal((await work.ended).code, 0);
  second.signal("SIGTERM");
  await second.ended;
});
