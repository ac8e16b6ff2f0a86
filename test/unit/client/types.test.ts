/**
 * What the SDK's types allow and refuse: a program is compiled whose wrong lines are marked. Each
 * of them must be refused, and no other one.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "quorumq-types-"));
after(() => rmSync(directory, { recursive: true }));

const head = `
import {
  createProducer, createWorker, type EnqueueItem, type TaskHandler, type WorkerTask,
} from ${JSON.stringify(join(root, "src/client/index.ts"))};
const connect = { endpoints: "127.0.0.1:9092" };
interface Tasks {
  mail: { to: string; cc?: string };
  thumbnail: { image: string };
  raw: Uint8Array;
}
`;

/** Lines with an error, and those marked `// wrong`; lines count from 1. */
function compile(body: string): { readonly refused: number[]; readonly marked: number[] } {
  const path = join(directory, "program.mts");
  const text = head + body;
  writeFileSync(path, text);
  const marked = text.split("\n").flatMap((line, i) => (line.endsWith("// wrong") ? [i + 1] : []));
  const flags = ["--noEmit", "--pretty", "false", "--strict", "--exactOptionalPropertyTypes"];
  const modules = ["--module", "nodenext", "--target", "es2023", "--allowImportingTsExtensions"];
  const types = ["--types", "node", "--typeRoots", join(root, "node_modules/@types")];
  const options = [...flags, ...modules, ...types, "--skipLibCheck", "--ignoreConfig"];
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = spawnSync(process.execPath, [tsc, ...options, path], { encoding: "utf8" });
  const refused = [...stdout.matchAll(/program\.mts\((\d+),\d+\): error/gu)].map(([, line]) =>
    Number(line),
  );
  assert.doesNotMatch(stdout, /^error/mu, stdout);
  const elsewhere = stdout.split("\n").filter((line) => /error/u.test(line));
  assert.ok(
    elsewhere.every((line) => line.includes("program.mts")),
    stdout,
  );
  return { refused: [...new Set(refused)], marked };
}

function check(body: string): void {
  const { refused, marked } = compile(body);
  assert.deepEqual(refused, marked);
}

test("a producer with a map takes its queues with their payloads only", () => {
  check(`
const producer = createProducer<Tasks>(connect);
await producer.enqueue("mail", { to: "a" }, { priority: 1 });
await producer.enqueue("raw", Buffer.from("x"));
await producer.enqueue("mail", { to: 1 }); // wrong
await producer.enqueue("mail", { image: "a" }); // wrong
await producer.enqueue("other", { to: "a" }); // wrong
await producer.enqueueMany("thumbnail", [{ image: "a" }, { image: "b" }]);
await producer.enqueueMany("thumbnail", [{ image: "a" }, { to: "b" }]); // wrong
await producer.enqueueBatch([
  { queue: "mail", payload: { to: "a" }, idempotencyKey: "k" },
  { queue: "thumbnail", payload: { to: "a" } }, // wrong
]);
const item: EnqueueItem<Tasks> = { queue: "thumbnail", payload: { image: "a" } };
await producer.enqueueBatch([item]);
`);
});

test("a worker's tasks are told apart by their queue", () => {
  check(`
createWorker<Tasks>(connect, {
  queues: ["mail", "thumbnail"],
  handler: (task) => {
    if (task.queue === "mail") {
      const { to } = task.json();
      to.toUpperCase();
      task.json().image; // wrong
    } else if (task.queue === "raw") {
      task.json().length; // wrong
      task.payload.length;
    } else {
      task.json().image.toUpperCase();
    }
  },
});
createWorker<Tasks>(connect, {
  queues: ["other"], // wrong
  handler: () => undefined,
});
const handler: TaskHandler<Pick<Tasks, "mail">> = (task) => task.json().to;
createWorker<Pick<Tasks, "mail">>(connect, { queues: ["mail"], handler });
const task = null as unknown as WorkerTask<Tasks>;
if (task.queue === "thumbnial") task.id; // wrong
`);
});

test("a pino logger is a logger, and events have their details' types", () => {
  const pino = JSON.stringify(join(root, "node_modules/pino/pino.js"));
  check(`
import { pino } from ${pino};
const logger = pino();
createProducer({ ...connect, logger });
createProducer({ ...connect, logger: console.log }); // wrong
const worker = createWorker<Tasks>({ ...connect, logger }, { handler: () => 1 });
worker
  .on("completed", ({ task, durationMs }) => task.queue === "mail" && durationMs.toFixed())
  .on("retried", ({ delayMs }) => delayMs.toFixed())
  .on("connected", ({ nodeId }) => nodeId.length)
  .once("drained", () => worker.stop());
worker.on("complete", () => 1); // wrong
worker.on("claimed", ({ durationMs }) => durationMs); // wrong
for await (const outcome of createProducer<Tasks>(connect).enqueueStream([
  { queue: "mail", payload: { to: "a" } },
  { queue: "mail", payload: { image: "a" } }, // wrong
])) outcome.kind;
`);
});

test("without a map any queue takes any payload, which comes back unknown", () => {
  check(`
const producer = createProducer(connect);
const queue: string = "q" + 1;
await producer.enqueue(queue, { any: [1] });
await producer.enqueueBatch([{ queue, payload: null }, { queue: "r", payload: 1 }]);
await producer.enqueue("q", 1, { priority: "high" }); // wrong
createWorker(connect, {
  queues: [queue],
  handler: (task, { signal }) => {
    const value: unknown = task.json();
    const { to } = task.json(); // wrong
    return { value, queue: task.queue.length, signal: signal.aborted };
  },
});
const handler: TaskHandler = (task: WorkerTask) => task.id;
createWorker(connect, { handler });
`);
});
