/** FAULTS 5.5 from outside, first part: the command line itself, and how each failure ends. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort } from "../process.ts";
import { reaching, runCli, startCli } from "./run.ts";
import { guardedServer, openServer, run, workerToken } from "./two-servers.ts";

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
  const env = reaching(guardedServer());
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
    env: reaching(openServer()),
  });
  child.stdout?.once("data", () => child.stdout?.destroy());
  assert.equal((await ended).code, 0);
  assert.equal(output.stderr, "");
});

test("5.5-10 without a terminal: no colour, no question, no bar", async () => {
  const env = { ...reaching(openServer()), TERM: "xterm-256color", FORCE_COLOR: "1" };
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
