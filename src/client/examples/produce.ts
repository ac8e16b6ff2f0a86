/**
 * Enqueues: one task, many of one queue, some of several; urgent, delayed and keyed ones.
 *
 *   node dist/client/examples/produce.js
 */
import { createProducer } from "quorumq/client";
import { grpc } from "./connection.ts";
import type { Tasks } from "./tasks.ts";

const producer = createProducer<Tasks>(grpc);

// Resolves when the task is durable.
const { id } = await producer.enqueue("mail", { to: "ada@example.org", subject: "hello" });
console.log(`created ${id}`);

// Before all others of its queue; three deliveries before it is a dead letter.
await producer.enqueue(
  "mail",
  { to: "ops@example.org", subject: "disk is full" },
  { priority: 9, maxAttempts: 3 },
);

// Not before its time.
await producer.enqueue(
  "mail",
  { to: "ada@example.org", subject: "see you tomorrow" },
  { delaySeconds: 24 * 3600 },
);

// The same key gives the same task, however often and by whomever it is enqueued.
const order = { to: "ada@example.org", subject: "order 17 is on its way" };
const first = await producer.enqueue("mail", order, { idempotencyKey: "order-17-shipped" });
const again = await producer.enqueue("mail", order, { idempotencyKey: "order-17-shipped" });
console.log(`the same task: ${first.id === again.id}, told as a duplicate: ${again.duplicate}`);

// One outcome for each: a task that is refused does not touch the others.
const outcomes = await producer.enqueueMany("thumbnail", [
  { image: "cat.png" },
  { image: "dog.png", width: 320 },
  { image: "owl.png", width: 640 },
]);
const created = outcomes.filter((outcome) => outcome.kind === "created");
console.log(`${created.length} thumbnails`);

await producer.enqueueBatch([
  { queue: "mail", payload: { to: "bob@example.org", subject: "hello" }, priority: 1 },
  { queue: "thumbnail", payload: { image: "fox.png" }, delaySeconds: 0.5 },
]);

// Answers every call first.
await producer.close();
