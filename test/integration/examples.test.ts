/** Every program under src/client/examples runs as its first lines say, against a server. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createHttpClient, type HttpClient } from "../../src/client/index.ts";
import { makeDirectory, type Server, startServer } from "./process.ts";

const examples = fileURLToPath(new URL("../../dist/client/examples", import.meta.url));
const sources = fileURLToPath(new URL("../../src/client/examples", import.meta.url));
/** What the others share. */
const parts = ["connection.ts", "tasks.ts"];
const taken = new Set<string>();

describe("src/client/examples", () => {
  const directory = makeDirectory();
  let server: Server;
  let http: HttpClient;

  before(async () => {
    server = await startServer(join(directory.path, "data"));
    http = createHttpClient({ endpoints: server.url });
  });

  after(async () => {
    server.signal("SIGTERM");
    await server.ended;
    directory.remove();
  });

  function start(name: string, args: readonly string[] = []): ChildProcess {
    taken.add(`${name}.ts`);
    return spawn(process.execPath, [join(examples, `${name}.js`), ...args], {
      env: {
        ...process.env,
        QUORUMQ_HTTP: server.url,
        QUORUMQ_GRPC: `127.0.0.1:${server.ports.grpc}`,
      },
      stdio: ["pipe", "pipe", "inherit"],
    });
  }

  /** Runs an example to its end; gives the lines that it printed. */
  async function linesOf(name: string, input = "", args: readonly string[] = []) {
    const child = start(name, args);
    assert.ok(child.stdin !== null && child.stdout !== null);
    child.stdin.end(input);
    const ended = once(child, "exit");
    const output = await text(child.stdout);
    assert.deepEqual(await ended, [0, null], output);
    return output.trimEnd().split("\n");
  }

  test("produce, then work until SIGTERM: everything that was due is done", async () => {
    const lines = await linesOf("produce");
    assert.match(lines[0] ?? "", /^created \S+$/);
    assert.deepEqual(lines.slice(1), [
      "the same task: true, told as a duplicate: true",
      "3 thumbnails",
    ]);
    await http.create("mail", { to: "nobody", subject: "x" });
    await http.create("mail", { to: "eve@busy.example.org", subject: "patience" });
    const child = start("work");
    assert.ok(child.stdout !== null);
    const ended = once(child, "exit");
    let output = "";
    let isTold = false;
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      output += part;
      // 6 mails and 4 thumbnails are due; one of the mails fails for good
      const ends = output.match(/ (completed|failed)/g)?.length ?? 0;
      if (ends === 10 && !isTold) isTold = child.kill("SIGTERM");
    });
    assert.deepEqual(await ended, [0, null], output);
    assert.match(output, /^working$/m);
    assert.match(output, /^mail \S+ failed: FailTask: "nobody" is no address$/m);
    assert.match(output, /^\S+ again in 0 ms$/m);
    assert.match(output, /^thumbnail \S+ completed \{"image":"owl.png","width":640\}$/m);
    assert.match(output, /^stopped$/m);
    const { delayed, ready, leased } = await http.queue("mail");
    assert.deepEqual({ delayed, ready, leased }, { delayed: 1, ready: 0, leased: 0 });
  });

  test("a file is imported once, however often it is tried", async () => {
    const line = (n: number) =>
      JSON.stringify({ queue: "imported", payload: n, idempotencyKey: `line-${n}` });
    const file = Array.from({ length: 5000 }, (_, n) => line(n)).join("\n");
    assert.deepEqual(await linesOf("import-lines", `${file}\n{"queue":"?","payload":1}\n`), [
      'task 5001: invalid_argument queue: "?" is no queue\'s name',
      "created 5000, known already 0, refused 1",
    ]);
    assert.deepEqual(await linesOf("import-lines", file), [
      "created 0, known already 5000, refused 0",
    ]);
    assert.equal((await http.queue("imported")).ready, 5000);
  });

  test("steps follow each other with their trace", async () => {
    assert.deepEqual(await linesOf("pipeline"), [
      'published {"url":"https://example.org/cat.png"}',
      "one trace: true",
    ]);
  });

  test("a request gets its reply, and a key stands for one request", async () => {
    assert.deepEqual(await linesOf("request-reply"), [
      "sum 42",
      "another request under the same key: idempotency_conflict",
    ]);
  });

  test("dead letters are looked at and made ready again", async () => {
    assert.deepEqual((await linesOf("dead-letters", "", ["their-queue"])).sort(), [
      'a: no printer for "a"',
      'b: no printer for "b"',
      'c: no printer for "c"',
      "ready 0, dead 0",
      "ready again: 3",
    ]);
  });

  test("who was too slow is fenced off", async () => {
    assert.deepEqual(await linesOf("fencing"), [
      "the second one writes: true",
      "the first one writes: false",
      "kept: by the second",
      "the first one settles: lease_lost",
      "the second one settles: COMPLETED",
    ]);
  });

  test("a worker over HTTP does what there is", async () => {
    assert.deepEqual((await linesOf("http-worker", "", ["squares"])).sort(), [
      "nothing left",
      "result 1",
      "result 16",
      "result 25",
      "result 4",
      "result 9",
    ]);
  });

  test("no example is left out", () => {
    const programs = readdirSync(sources).filter((name) => !parts.includes(name));
    assert.deepEqual(programs.sort(), [...taken].sort());
  });
});
