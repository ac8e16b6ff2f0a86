/** FAULTS 5.5 from outside, second part: tokens, files, names, signals. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { canary } from "../process.ts";
import { reaching, runCli, startCli } from "./run.ts";
import { directory, guardedServer, openServer, run, token } from "./two-servers.ts";

describe("5.5-12 tokens", () => {
  test("5.5-12 come from the environment, a file or standard input", async () => {
    const file = join(directory.path, "token");
    writeFileSync(file, `${token}\r\n`);
    const env = reaching(guardedServer());
    for (const options of [
      { env: { ...env, QUORUMQ_TOKEN: token } },
      { env: { ...env, QUORUMQ_TOKEN_FILE: file } },
    ]) {
      assert.equal((await runCli(["queue", "list"], options)).code, 0);
    }
    const args = ["queue", "list", "--token-file"];
    assert.equal((await runCli([...args, file], { env })).code, 0);
    assert.equal((await runCli([...args, "-"], { env, stdin: token })).code, 0);
    const both = { ...env, QUORUMQ_TOKEN: token, QUORUMQ_TOKEN_FILE: file };
    assert.equal((await runCli(["queue", "list"], { env: both })).code, 78);
  });

  test("5.5-12 on a command line are refused, and never shown", async () => {
    const env = { ...reaching(guardedServer()), QUORUMQ_TOKEN: token };
    for (const args of [
      ["--token", canary, "queue", "list"],
      [`--token=${canary}`, "queue", "list"],
      ["queue", "list", `--token=${canary}`],
      [`--tokne=${canary}`, "queue", "list"],
      [`--json`, `--tokne=${canary}`, "queue", "list"],
    ]) {
      const { code, stdout, stderr } = await runCli(args, { env });
      assert.equal(code, 64, stderr);
      assert.ok(!`${stdout}${stderr}`.includes(canary), `${stdout}${stderr}`);
    }
  });

  test("5.5-12 in a profile are masked, and its file is the owner's alone", async () => {
    const env = { QUORUMQ_PROFILES: join(directory.path, "profiles-1") };
    const set = ["profile", "set", "p", "--http", guardedServer().url, "--token-stdin"];
    assert.equal((await runCli(set, { env, stdin: token })).code, 0);
    const shown = await runCli(["profile", "show", "p"], { env });
    assert.ok(!shown.stdout.includes(canary));
    assert.match(shown.stdout, /\*\*\*/);
    const path = join(env.QUORUMQ_PROFILES, "profiles", "p.json");
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal((await runCli(["--profile", "p", "queue", "list"], { env })).code, 0);
  });
});

test("5.5-13 what destroys needs --yes, and does nothing without", async () => {
  assert.equal((await run(["enqueue", "precious", "1"])).code, 0);
  const commands = [
    ["queue", "purge", "precious", "--state", "ready"],
    ["task", "cleanup"],
    ["member", "remove", "node1"],
  ];
  for (const args of commands) {
    const { code, stderr } = await run(args);
    assert.equal(code, 64, args.join(" "));
    assert.match(stderr, /--yes/);
  }
  const { stdout } = await run(["--json", "queue", "show", "precious"]);
  assert.equal((JSON.parse(stdout) as { ready: number }).ready, 1);
});

test("5.5-14 Ctrl-C ends the commands, hands their tasks back, exit 130", async () => {
  const created = await run(["enqueue", "slow", "1"]);
  const id = created.stdout.trim();
  const work = startCli(["work", "slow", "--exec", "echo begun >&2; exec sleep 600"], {
    env: reaching(openServer()),
  });
  await work.until("begun");
  work.child.kill("SIGINT");
  assert.equal((await work.ended).code, 130);
  const { stdout } = await run(["--json", "task", "get", id]);
  const { state, attempts } = JSON.parse(stdout) as { state: string; attempts: number };
  assert.deepEqual([state, attempts], ["ready", 0]);
});

test("5.5-15 a file that is a directory, too large or binary", async () => {
  const folder = join(directory.path, "folder");
  mkdirSync(folder);
  const large = join(directory.path, "large");
  writeFileSync(large, Buffer.alloc(9 * 2 ** 20, "1"));
  const binary = join(directory.path, "binary");
  const bytes = Buffer.from([0, 255, 254, 10, 13, 0, 128]);
  writeFileSync(binary, bytes);
  assert.equal((await run(["enqueue", "f", "--file", folder])).code, 66);
  assert.equal((await run(["enqueue", "f", "--lines", "--file", folder])).code, 66);
  assert.equal((await run(["enqueue", "f", "--file", join(folder, "none")])).code, 66);
  assert.equal((await run(["enqueue", "f", "--file", large])).code, 65);
  assert.equal((await run(["enqueue", "f", "--file", binary])).code, 65);
  const kept = await run(["--json", "enqueue", "f", "--raw", "--file", binary]);
  const { id } = JSON.parse(kept.stdout) as { id: string };
  const { stdout } = await run(["--json", "task", "get", id]);
  const { payloadBase64 } = JSON.parse(stdout) as { payloadBase64: string };
  assert.deepEqual(Buffer.from(payloadBase64, "base64"), bytes);
});

test("5.5-16 names that begin with a dash", async () => {
  assert.equal((await run(["enqueue", "-dash", "1"])).code, 64);
  assert.equal((await run(["enqueue", "--", "-dash", "1"])).code, 0);
  const { code, stdout } = await run(["--json", "queue", "show", "--", "-dash"]);
  assert.equal(code, 0);
  assert.equal((JSON.parse(stdout) as { ready: number }).ready, 1);
});

test("5.5-17 Windows line ends", async () => {
  const done = await run(["--json", "enqueue", "crlf", "--lines"], '{"a":1}\r\n"two"\r\n\r\n3');
  assert.equal((JSON.parse(done.stdout) as { created: number }).created, 3);
  const raw = await run(["--json", "enqueue", "crlf-raw", "--lines", "--raw"], "one\r\ntwo\r\n");
  assert.equal((JSON.parse(raw.stdout) as { created: number }).created, 2);
  const { stdout } = await run(["--json", "task", "list", "-q", "crlf-raw"]);
  const { tasks } = JSON.parse(stdout) as { tasks: { payloadBase64: string }[] };
  const texts = tasks.map((task) => Buffer.from(task.payloadBase64, "base64").toString());
  assert.deepEqual(texts.sort(), ["one", "two"]);
});

test("5.5-18 profiles written at the same time are all whole", async () => {
  const env = { QUORUMQ_PROFILES: join(directory.path, "profiles-2") };
  const names = Array.from({ length: 4 }, (_, i) => `p${i}`);
  const writes = names.flatMap((name) => [
    runCli(["profile", "set", name, "--http", "http://127.0.0.1:1"], { env }),
    runCli(["profile", "set", "same", "--http", `http://127.0.0.1:${name.slice(1)}`], { env }),
  ]);
  for (const { code, stderr } of await Promise.all(writes)) assert.equal(code, 0, stderr);
  const { stdout } = await runCli(["--json", "profile", "list"], { env });
  const { profiles } = JSON.parse(stdout) as { profiles: string[] };
  assert.deepEqual(profiles, [...names, "same"]);
  const folder = join(env.QUORUMQ_PROFILES, "profiles");
  for (const file of readdirSync(folder)) JSON.parse(readFileSync(join(folder, file), "utf8"));
});
