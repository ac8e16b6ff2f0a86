/**
 * Enqueues a file of any length, a JSON line per task, only as fast as tasks become durable.
 *
 *   node dist/client/examples/import-lines.js < tasks.jsonl
 *
 * A line is {"queue": "mail", "payload": {…}, "priority": 5, "idempotencyKey": "…"}: with keys the same
 * file can be imported again after a crash and makes no task twice.
 */
import { createInterface } from "node:readline";
import { createProducer, type EnqueueItem } from "quorumq/client";
import { grpc } from "./connection.ts";

async function* itemsOf(input: NodeJS.ReadableStream): AsyncIterable<EnqueueItem> {
  for await (const line of createInterface({ input })) {
    if (line.trim() !== "") yield JSON.parse(line);
  }
}

const producer = createProducer(grpc);
let created = 0;
let known = 0;
let place = 0;
try {
  // Outcomes come in the order of the lines.
  for await (const outcome of producer.enqueueStream(itemsOf(process.stdin))) {
    place++;
    if (outcome.kind === "refused") {
      console.log(`task ${place}: ${outcome.error.code} ${outcome.error.message}`);
    } else if (outcome.duplicate) known++;
    else created++;
  }
} finally {
  await producer.close();
}
console.log(`created ${created}, known already ${known}, refused ${place - created - known}`);
