/**
 * A worker as a process: `worker-child.ts <endpoints> <name> <lease seconds>`. Prints `got <id>
 * <lease token>` for each task, which ends when a line comes in, then `completed <id>` or `lost <id> <code>`.
 */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { createWorker } from "../../../src/client/index.ts";

const [, , endpoints = "", workerId = "", leaseSeconds = ""] = process.argv;
const lines = createInterface({ input: process.stdin });
const worker = createWorker(
  { endpoints: endpoints.split(",") },
  {
    queues: ["r25"],
    workerId,
    concurrency: 1,
    leaseSeconds: Number(leaseSeconds),
    handler: async (task) => {
      console.log(`got ${task.id} ${task.leaseToken}`);
      await once(lines, "line");
    },
  },
);
worker.on("completed", ({ task }) => console.log(`completed ${task.id}`));
worker.on("lost", ({ task, error }) => console.log(`lost ${task.id} ${error.code}`));
await worker.start();
