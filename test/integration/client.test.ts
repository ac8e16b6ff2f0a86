/** The SDK as an application uses it, against the built server as a process. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { limits } from "../../src/base/limits.ts";
import {
  createHttpClient,
  createProducer,
  createWorker,
  FailTask,
  type HttpClient,
  type Producer,
  QuorumQError,
  RetryTask,
  type TaskHandler,
  type Worker,
  type WorkerOptions,
} from "../../src/client/index.ts";
import { freePorts, makeDirectory, type Server, startServer } from "./process.ts";

const directory = makeDirectory();
let server: Server;
let producer: Producer;
let http: HttpClient;
const workers: Worker[] = [];

before(async () => {
  server = await startServer(directory.path, {}, await freePorts());
  producer = createProducer({ endpoints: endpoint() });
  http = createHttpClient({ endpoints: server.url });
});

after(async () => {
  await Promise.all(workers.map((worker) => worker.stop({ graceSeconds: 0 })));
  await producer.close();
  server.signal("SIGKILL");
  await server.ended;
  directory.remove();
});

function endpoint(): string {
  return `127.0.0.1:${server.ports.grpc}`;
}

async function work(
  queue: string,
  handler: TaskHandler,
  options: Partial<WorkerOptions> = {},
): Promise<Worker> {
  const worker = createWorker({ endpoints: endpoint() }, { queues: [queue], handler, ...options });
  workers.push(worker);
  await worker.start();
  return worker;
}

function resultOf(id: string) {
  return http.getResult(id, { waitSeconds: 20 });
}

test("a task's way: enqueued, handled, its result looked up", async () => {
  await work("way", (task) => ({ twice: Number(task.json()) * 2, attempt: task.attempt }));
  const { id } = await producer.enqueue("way", 21);
  const { task, result } = await resultOf(id);
  assert.deepEqual([task.state, result?.status], ["completed", "COMPLETED"]);
  assert.deepEqual(result?.result, { twice: 42, attempt: 1 });
});

test("a thousand tasks are handled once each", async () => {
  const seen = new Map<number, number>();
  const payloads = Array.from({ length: 1000 }, (_, i) => i);
  const outcomes = await producer.enqueueMany("many", payloads);
  assert.ok(outcomes.every(({ kind }) => kind === "created"));
  await new Promise<void>((resolve, reject) => {
    work(
      "many",
      (task) => {
        const n = Number(task.json());
        seen.set(n, (seen.get(n) ?? 0) + 1);
        if (seen.size === payloads.length) resolve();
      },
      { concurrency: 50, prefetch: 50 },
    ).catch(reject);
  });
  assert.deepEqual([...new Set(seen.values())], [1]);
});

test("a frame of 2 MiB is one run", async () => {
  const payloads = Array.from({ length: 128 }, () => "x".repeat(16 * 1024));
  const outcomes = await producer.enqueueMany("large", payloads);
  assert.deepEqual(
    outcomes.filter(({ kind }) => kind !== "created"),
    [],
  );
});

test("a retry comes after its delay, as the next attempt; FailTask ends it", async () => {
  await work("retry", (task) => {
    if (task.attempt === 1) throw new RetryTask("once more", { delaySeconds: 0 });
    throw new FailTask("for good", { result: { attempt: task.attempt } });
  });
  const { id } = await producer.enqueue("retry", null);
  const { task, result } = await resultOf(id);
  assert.deepEqual(
    [task.state, result?.error, result?.result],
    ["failed", "for good", { attempt: 2 }],
  );
});

test("a key gives the same task again, and a conflict for another request", async () => {
  const first = await producer.enqueue("key", { a: 1 }, { idempotencyKey: "k" });
  const again = await producer.enqueue("key", { a: 1 }, { idempotencyKey: "k" });
  assert.deepEqual(again, { id: first.id, duplicate: true });
  await assert.rejects(
    producer.enqueue("key", { a: 2 }, { idempotencyKey: "k" }),
    (error) => error instanceof QuorumQError && error.code === "idempotency_conflict",
  );
});

test("a handler is told when its task is canceled", async () => {
  const reason = new Promise((resolve, reject) => {
    work("cancel", async (task, { signal }) => {
      const told = new Promise((told) => signal.addEventListener("abort", told));
      await http.cancel(task.id);
      await told;
      resolve(signal.reason);
    }).catch(reject);
  });
  const { id } = await producer.enqueue("cancel", 1);
  const error = await reason;
  assert.ok(error instanceof QuorumQError && error.code === "canceled");
  assert.equal((await http.getTask(id)).state, "canceled");
});

test("a stopped worker's tasks are ready at once for the next one", async () => {
  const { id } = await producer.enqueue("stop", 1);
  let begun = (): void => undefined;
  const running = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const first = await work("stop", () => {
    begun();
    return new Promise(() => undefined);
  });
  await running;
  await first.stop({ graceSeconds: 0 });
  assert.equal((await http.getTask(id)).state, "ready");
  await work("stop", () => "second");
  assert.equal((await resultOf(id)).result?.result, "second");
});

test("handlers that keep the event loop for longer than a node may be silent lose nothing", async () => {
  const count = 4;
  const standMs = limits.clientPingMs + limits.clientPingAnswerMs + 500;
  await producer.enqueueMany("stand", Array(count).fill(null));
  const losses: string[] = [];
  let starts = 0;
  await new Promise<void>((resolve, reject) => {
    const handler = async (): Promise<void> => {
      // One turn, in which a ping that is due leaves and its answer does not come yet.
      await new Promise(setImmediate);
      const endMs = performance.now() + standMs;
      while (performance.now() < endMs);
      if (++starts === count) resolve();
    };
    work("stand", handler, { concurrency: 1, prefetch: count, batch: count })
      .then((worker) => {
        worker.on("disconnected", ({ error }) => losses.push(error.message));
        worker.on("lost", ({ task }) => losses.push(task.id));
      })
      .catch(reject);
  });
  await new Promise(setImmediate);
  assert.deepEqual(losses, []);
});

test("calls under way while the server is killed and comes back make each task once", async () => {
  const calls = Array.from({ length: 40 }, (_, i) =>
    producer.enqueueMany(
      "killed",
      Array.from({ length: 100 }, (_, k) => i * 100 + k),
    ),
  );
  await calls[0];
  server.signal("SIGKILL");
  await server.ended;
  server = await startServer(directory.path, {}, server.ports);
  const outcomes = (await Promise.all(calls)).flat();
  assert.ok(outcomes.every(({ kind }) => kind === "created"));
  const seen: number[] = [];
  await new Promise<void>((resolve, reject) => {
    work(
      "killed",
      (task) => {
        seen.push(Number(task.json()));
        if (seen.length === outcomes.length) resolve();
      },
      { concurrency: 100, prefetch: 400 },
    ).catch(reject);
  });
  assert.equal(new Set(seen).size, 4000);
});
