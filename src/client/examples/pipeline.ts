/**
 * Steps that follow each other: a handler enqueues the next one. A task may be delivered more than
 * once; its id as the key makes the next step's task one all the same. The trace goes along.
 *
 *   node dist/client/examples/pipeline.js
 */
import { createHttpClient, createProducer, createWorker } from "quorumq/client";
import { grpc, http } from "./connection.ts";
import type { Tasks } from "./tasks.ts";

const producer = createProducer<Tasks>(grpc);

const worker = createWorker<Tasks>(grpc, {
  queues: ["resize", "publish"],
  handler: async (task, context) => {
    if (task.queue === "resize") {
      const { image } = task.json();
      // First the next step, durable, then this one's end: between them a crash repeats, and loses nothing.
      const next = await producer.enqueue(
        "publish",
        { image, bytes: image.length * 1000 },
        { idempotencyKey: `publish-${task.id}`, ...context.trace },
      );
      return { next: next.id };
    }
    if (task.queue === "publish") return { url: `https://example.org/${task.json().image}` };
    throw new Error(`no step ${task.queue}`);
  },
});
await worker.start();

const client = createHttpClient(http);
const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const first = await producer.enqueue("resize", { image: "cat.png" }, { traceParent });

const resized = await client.getResult(first.id, { waitSeconds: 30 });
const { next = "" } = (resized.result?.result ?? {}) as { next?: string };
const published = await client.getResult(next, { waitSeconds: 30 });
console.log(`published ${JSON.stringify(published.result?.result)}`);
console.log(`one trace: ${published.task.traceParent === traceParent}`);

await worker.stop();
await producer.close();
