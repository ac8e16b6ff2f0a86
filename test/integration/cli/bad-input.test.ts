/** FAULTS 5.5 from outside: what a command line may be given, and how it ends. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { canary, freePort, makeDirectory, type Server, startServer } from "../process.ts";
import { reaching, runCli, startCli } from "./run.ts";

const token = `${canary}-${"t".repeat(40)}`;
const workerToken = `${canary}-${"w".repeat(40)}`;
const directory = makeDirectory();
let server: Server;
let open: Server;

before(async () => {
  const tokens = join(directory.path, "tokens.json");
  writeFileSync(
    tokens,
    JSON.stringify([
      { token, subject: "ops", tenantId: "acme", roles: ["producer", "worker", "admin"] },
      { token: workerToken, subject: "w", tenantId: "acme", roles: ["worker"], eventTypes: ["a"] },
    ]),
    { mode: 0o600 },
  );
  [server, open] = await Promise.all([
    startServer(join(directory.path, "data"), { AUTH_TOKENS_FILE: tokens }),
    startServer(join(directory.path, "open")),
  ]);
});

after(async () => {
  for (const one of [server, open]) {
    one.signal("SIGTERM");
    await one.ended;
  }
  directory.remove();
});

const run = (args: readonly string[], stdin?: string | Buffer) =>
  runCli(args, { env: reaching(open), ...(stdin !== undefined && { stdin }) });

test("5.5-01 an unknown command or flag: usage on stderr, exit 64", async () => {
  const wrong = [["enqeue"], ["queue", "sohw"], ["enqueue", "--prio", "1", "q"], ["--frob"], []];
  for (const args of wrong) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stdout], [64, ""], args.join(" "));
    assert.match(stderr, /^Usage: quorumq/m);
  }
});

test("5.5-02 a missing argument is named, exit 64", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["enqueue"], /queue/],
    [["task", "get"], /id/],
    [["queue", "show"], /name/],
    [["work", "q"], /--exec/],
    [["queue", "purge", "q", "--yes"], /--state or --id/],
    [["member", "add", "n4"], /--raft/],
    [["enqueue", "q", "--priority"], /priority/],
  ];
  for (const [args, named] of cases) {
    const { code, stderr } = await run(args);
    assert.equal(code, 64, args.join(" "));
    assert.match(stderr, named);
  }
});

test("5.5-03 a huge argument is refused in a few words", async () => {
  const huge = "x".repeat(100_000);
  const refused = await run(["enqueue", huge, "1"]);
  assert.equal(refused.code, 65);
  assert.ok(refused.stderr.length < 200, refused.stderr);
  const payload = await run(["--json", "enqueue", "huge", JSON.stringify(huge)]);
  assert.equal(payload.code, 0, payload.stderr);
});

test("5.5-04 what follows -- is no flag", async () => {
  const done = await run(["--json", "enqueue", "dash", "--", "-5"]);
  assert.equal(done.code, 0, done.stderr);
  const { id } = JSON.parse(done.stdout) as { id: string };
  const { stdout } = await run(["--json", "task", "get", id]);
  assert.equal((JSON.parse(stdout) as { payload: unknown }).payload, -5);
  assert.equal((await run(["enqueue", "dash", "--", "--json"])).code, 65);
});

test("5.5-05 no server: exit 69 within the time", async () => {
  const port = await freePort();
  const env = { QUORUMQ_HTTP: `http://127.0.0.1:${port}`, QUORUMQ_GRPC: `127.0.0.1:${port}` };
  const commands = [
    ["queue", "list"],
    ["enqueue", "q", "1"],
    ["work", "q", "--exec", "true"],
    ["status"],
    ["top"],
    ["bench"],
  ];
  for (const args of commands) {
    const from = performance.now();
    const { code, stderr } = await runCli(["--timeout", "1", ...args], { env });
    assert.equal(code, 69, `${args.join(" ")}: ${stderr}`);
    assert.ok(performance.now() - from < 15_000, args.join(" "));
  }
});

test("5.5-06 no token, a bad one, one without the role: exit 77", async () => {
  const env = reaching(server);
  const bad = { ...env, QUORUMQ_TOKEN: "z".repeat(40) };
  const worker = { ...env, QUORUMQ_TOKEN: workerToken };
  for (const [args, used] of [
    [["queue", "list"], env],
    [["queue", "list"], bad],
    [["queue", "list"], worker],
    [["enqueue", "q", "1"], env],
    [["enqueue", "q", "1"], worker],
    [["work", "q", "--exec", "true"], bad],
  ] as const) {
    const { code, stderr } = await runCli(args, { env: used });
    assert.equal(code, 77, `${args.join(" ")}: ${stderr}`);
  }
});

test("5.5-07 what is not there: exit 4", async () => {
  const id = "01890a5d-ac96-774b-bcce-b302099a8057";
  for (const args of [
    ["task", "get", id],
    ["task", "result", id],
    ["task", "cancel", id],
  ]) {
    assert.equal((await run(args)).code, 4, args.join(" "));
  }
});

test("5.5-08 a conflict: exit 5", async () => {
  assert.equal((await run(["enqueue", "keyed", "1", "--key", "k"])).code, 0);
  assert.equal((await run(["enqueue", "keyed", "2", "--key", "k"])).code, 5);
  const done = await run(["enqueue", "ended", "1"]);
  const worked = await run(["work", "ended", "--exec", "true", "--tasks", "1"]);
  assert.equal(worked.code, 0, worked.stderr);
  assert.equal((await run(["task", "cancel", done.stdout.trim()])).code, 5);
});

test("5.5-09 a reader that has gone ends it quietly, exit 0", async () => {
  const lines = Array.from({ length: 3000 }, (_, i) => `{"n":${i},"pad":"${"x".repeat(100)}"}`);
  const filled = await run(["enqueue", "many", "--lines"], lines.join("\n"));
  assert.equal(filled.code, 0, filled.stderr);
  const { child, output, ended } = startCli(["--json", "task", "list", "--all", "-q", "many"], {
    env: reaching(open),
  });
  child.stdout?.once("data", () => child.stdout?.destroy());
  assert.equal((await ended).code, 0);
  assert.equal(output.stderr, "");
});

test("5.5-10 without a terminal: no colour, no question, no bar", async () => {
  const env = { ...reaching(open), TERM: "xterm-256color", FORCE_COLOR: "1" };
  for (const args of [["status"], ["queue", "list"], ["top", "-n", "1", "-i", "0.2"], ["--help"]]) {
    const { code, stdout, stderr } = await runCli(args, { env });
    assert.equal(code, 0, stderr);
    assert.ok(!`${stdout}${stderr}`.includes("\u001b"), args.join(" "));
  }
  const asked = await run(["queue", "purge", "q", "--state", "dead"]);
  assert.equal(asked.code, 64);
});

test("5.5-11 --json is always JSON, for errors too", async () => {
  const commands: readonly (readonly string[])[] = [
    ["enqueue", "json", "1"],
    ["enqueue", "json", "nope"],
    ["enqueue", "bad name!", "1"],
    ["enqueue", "json", "--file", "/nowhere"],
    ["task", "get", "nonsense"],
    ["task", "list"],
    ["task", "list", "--state", "odd"],
    ["task", "list", "-q", "nobody-used-it"],
    ["queue", "list"],
    ["queue", "show", "json"],
    ["queue", "redrive", "json"],
    ["queue", "pause", "json"],
    ["queue", "resume", "json"],
    ["queue", "purge", "json"],
    ["status"],
    ["top", "-n", "1", "-i", "0.2"],
    ["member", "list"],
    ["member", "remove", "n9", "--yes"],
    ["profile", "list"],
    ["profile", "show", "none"],
    ["doctor"],
    ["config"],
    ["--frob"],
    ["frob"],
    ["enqueue"],
  ];
  for (const args of commands) {
    const at =
      args[0] === "config" || args[0] === "doctor" ? [...args, "--json"] : ["--json", ...args];
    const { code, stdout } = await run(at);
    const value = JSON.parse(stdout) as { code?: string };
    if (code !== 0 && value.code !== undefined) assert.match(value.code, /^[a-z_]+$/);
  }
  const down = await runCli(["--json", "--timeout", "0.3", "queue", "list"], {
    env: { QUORUMQ_HTTP: `http://127.0.0.1:${await freePort()}` },
  });
  assert.equal((JSON.parse(down.stdout) as { code: string }).code, "timeout");
});

describe("5.5-12 tokens", () => {
  test("5.5-12 come from the environment, a file or standard input", async () => {
    const file = join(directory.path, "token");
    writeFileSync(file, `${token}\r\n`);
    const env = reaching(server);
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
    const env = { ...reaching(server), QUORUMQ_TOKEN: token };
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
    const set = ["profile", "set", "p", "--http", server.url, "--token-stdin"];
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
    env: reaching(open),
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

test("5.5-09 a pipe that closes before anything is written", async () => {
  const entry = fileURLToPath(new URL("../../../dist/main.cjs", import.meta.url));
  const shell = spawn("/bin/sh", [
    "-c",
    '"$0" "$1" --help | true; exit 0',
    process.execPath,
    entry,
  ]);
  let stderr = "";
  shell.stderr.on("data", (text) => {
    stderr += text;
  });
  const [code] = await once(shell, "close");
  assert.deepEqual([code, stderr], [0, ""]);
});
