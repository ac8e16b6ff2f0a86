/**
 * Damaged HTTP requests and gRPC frames against a real node, from a seed: it goes on, logs no bug,
 * serves others meanwhile, and its memory stays level.
 *
 *   FUZZ=200000 SEED=7 npx tsx test/integration/fuzz.test.ts
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connection, grpcCorpus, httpCorpus } from "./fuzz/corpus.ts";
import { Dice, mutate } from "./fuzz/mutate.ts";
import { makeDirectory, type Server, startServer } from "./process.ts";

const count = Number(process.env["FUZZ"] ?? 6_000);
const seed = Number(process.env["SEED"] ?? 20_261_127);
/** Connections open at a time. */
const width = 48;
/** A damaged request may be one that the server waits on: so long is it waited with it. */
const patienceMs = 400;

const directory = makeDirectory();
let server: Server;

before(async () => {
  server = await startServer(join(directory.path, "data"));
});
after(async () => {
  server.signal("SIGTERM");
  const { code } = await server.ended;
  directory.remove();
  assert.equal(code, 0);
});

/** Memory of its own: mapped tables of the store belong to the page cache. */
function rssMiB(): number {
  const status = readFileSync(`/proc/${server.pid}/status`, "latin1");
  return Number(/^RssAnon:\s+(\d+)/mu.exec(status)?.[1] ?? 0) / 1024;
}

/** Sends bytes, half-closes, and resets when the other side is done: no port stays in TIME_WAIT. */
function send(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const timer = setTimeout(over, patienceMs);
    function over(): void {
      clearTimeout(timer);
      // A reset fails while the half-close is under way, and the socket would stay open for ever.
      if (socket.writableFinished) socket.resetAndDestroy();
      else socket.destroy();
      resolve();
    }
    socket.on("error", over);
    socket.on("end", over);
    socket.on("close", over);
    socket.on("data", () => undefined);
    socket.on("connect", () => socket.end(bytes));
  });
}

test(`${count} damaged requests and frames (seed ${seed}) neither end the node nor fill it`, {
  timeout: 60_000 + count * 10,
}, async () => {
  const dice = new Dice(seed);
  const http = httpCorpus();
  const services = grpcCorpus();
  const messages = services.flatMap((service) => service.messages);
  const whole = services.map((service) => connection(service, (message) => message));

  const next = (): [port: number, bytes: Buffer] => {
    const { ports } = server;
    const kind = dice.below(4);
    if (kind < 2) return [ports.http, mutate(dice, dice.pick(http), http)];
    if (kind === 2) return [ports.grpc, mutate(dice, dice.pick(whole), whole)];
    // valid HTTP/2, damaged messages
    const damage = (message: Buffer) =>
      dice.below(3) === 0 ? mutate(dice, message, messages) : message;
    return [ports.grpc, connection(dice.pick(services), damage)];
  };

  let sent = 0;
  const levels: number[] = [];
  const runner = async (): Promise<void> => {
    while (sent < count) {
      sent++;
      if (sent % Math.ceil(count / 20) === 0) levels.push(Math.round(rssMiB()));
      await send(...next());
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: width }, runner));
  const seconds = (performance.now() - started) / 1000;
  console.log(`${sent} in ${seconds.toFixed(0)} s, RSS in MiB: ${levels.join(" ")}`);

  assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  const bugs = server.output.stdout.split("\n").filter((line) => line.includes('"level":"error"'));
  assert.deepEqual(bugs.slice(0, 3), []);
  assert.equal(server.output.stderr, "");
  // From a fifth of the run on, when caches are warm, to its end.
  const warm = levels[4] ?? 0;
  const last = Math.min(...levels.slice(-3));
  assert.ok(last <= warm * 1.3 + 32, `RSS grew from ${warm} to ${last} MiB`);
});
