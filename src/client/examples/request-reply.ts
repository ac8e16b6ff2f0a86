/**
 * Asks for work and waits for its result, as an HTTP handler would that answers its own client.
 *
 *   node dist/client/examples/request-reply.js
 */
import { createHttpClient, createWorker, QuorumQError } from "quorumq/client";
import { grpc, http } from "./connection.ts";
import type { Tasks } from "./tasks.ts";

const worker = createWorker<Pick<Tasks, "sum">>(grpc, {
  queues: ["sum"],
  handler: (task) => task.json().numbers.reduce((sum, number) => sum + number, 0),
});
await worker.start();

const client = createHttpClient(http);

/** With a key every retry is safe: without one an unknown outcome has to be told to the caller. */
async function sum(numbers: readonly number[], key: string): Promise<unknown> {
  const { id } = await client.create("sum", { numbers }, { idempotencyKey: key });
  const { result } = await client.getResult(id, { waitSeconds: 30 });
  if (result === null) throw new Error(`${id} takes longer`);
  if (result.status === "FAILED") throw new Error(result.error);
  return result.result;
}

console.log(`sum ${await sum([1, 2, 3, 36], "sum-of-four")}`);

try {
  await sum([1, 2], "sum-of-four");
} catch (error) {
  // Match the code, never the text.
  if (!(error instanceof QuorumQError)) throw error;
  console.log(`another request under the same key: ${error.code}`);
}

await worker.stop();
