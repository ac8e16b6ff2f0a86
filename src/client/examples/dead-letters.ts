/**
 * What an operator does with dead letters: looks why, mends the cause, makes them ready again.
 *
 *   node dist/client/examples/dead-letters.js [queue]
 */
import { createHttpClient, createProducer, createWorker } from "quorumq/client";
import { grpc, http } from "./connection.ts";

const queue = process.argv[2] ?? "letters";
const letters = ["a", "b", "c"];
const client = createHttpClient(http);

// Some tasks whose only attempt fails.
let isMended = false;
const worker = createWorker(grpc, {
  queues: [queue],
  handler: (task) => {
    if (!isMended) throw new Error(`no printer for ${JSON.stringify(task.json())}`);
    return "printed";
  },
});
const allDead = seen("dead");
const allCompleted = seen("completed");
await worker.start();
const producer = createProducer(grpc);
await producer.enqueueMany(queue, letters, { maxAttempts: 1 });
await allDead;

for await (const task of client.allTasks({ queue, state: "dead" })) {
  console.log(`${task.payload}: ${task.error}`);
}

isMended = true;
const { count } = await client.redrive(queue);
console.log(`ready again: ${count}`);
await allCompleted;

const { ready, dead: left } = await client.queue(queue);
console.log(`ready ${ready}, dead ${left}`);

await worker.stop();
await producer.close();

/** Resolves when all letters came to this end. */
function seen(end: "dead" | "completed"): Promise<void> {
  let count = 0;
  return new Promise((resolve) => {
    worker.on(end, () => {
      count++;
      if (count === letters.length) resolve();
    });
  });
}
