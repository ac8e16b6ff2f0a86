/**
 * A worker over plain HTTP, for places where no stream can be held: claims, keeps the lease alive by
 * heartbeats, settles in one batch. Ends when there is nothing left.
 *
 *   node dist/client/examples/http-worker.js [queue]
 */
import { type ClaimedRecord, createHttpClient, type ResultBatchItem } from "quorumq/client";
import { http } from "./connection.ts";

const queue = process.argv[2] ?? "numbers";
const client = createHttpClient(http);
await client.createBatch([1, 2, 3, 4, 5].map((payload) => ({ queue, payload })));

async function square(task: ClaimedRecord): Promise<ResultBatchItem> {
  const { id: taskId, leaseToken, payload } = task;
  // A long one does so at every third of its lease.
  await client.heartbeat(taskId, { leaseToken, extendSeconds: 60 });
  if (typeof payload !== "number") {
    return { taskId, leaseToken, status: "FAILED", error: "no number" };
  }
  return { taskId, leaseToken, status: "COMPLETED", result: payload ** 2 };
}

for (;;) {
  const tasks = await client.claimBatch({ queues: [queue], count: 100, leaseSeconds: 60 });
  if (tasks.length === 0) break;
  const outcomes = await client.resultBatch(await Promise.all(tasks.map(square)));
  for (const outcome of outcomes) {
    if (outcome.kind === "settled") console.log(`result ${outcome.result.result}`);
    else console.log(`${outcome.taskId}: ${outcome.error.code}`);
  }
}
console.log("nothing left");
