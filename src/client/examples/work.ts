/**
 * A worker as a service runs it: typed tasks, errors by kind, a log, an end that loses nothing.
 *
 *   node dist/client/examples/work.js        SIGTERM or Ctrl-C ends it
 */
import { createWorker, FailTask, RetryTask, type TaskContext, type TaskOf } from "quorumq/client";
import { grpc } from "./connection.ts";
import type { Tasks } from "./tasks.ts";

const worker = createWorker<Tasks>(grpc, {
  queues: ["mail", "thumbnail"],
  concurrency: 20,
  leaseSeconds: 60,
  handler: (task, context) => {
    // What `task.json()` gives follows from `task.queue`.
    if (task.queue === "mail") return send(task);
    if (task.queue === "thumbnail") return shrink(task, context);
    throw new FailTask(`no handler for ${task.queue}`);
  },
});

/** What a handler returns is the task's result. */
function send(task: TaskOf<"mail", Tasks["mail"]>) {
  const { to, subject } = task.json();
  // For good: no other try can help.
  if (!to.includes("@")) throw new FailTask(`"${to}" is no address`, { result: { to } });
  // Later, when the time is known; any other error is tried again by the server's backoff.
  if (to.endsWith("@busy.example.org") && task.attempt === 1) {
    throw new RetryTask("the mail server is busy", { delaySeconds: 0 });
  }
  return { sent: subject };
}

async function shrink(task: TaskOf<"thumbnail", Tasks["thumbnail"]>, context: TaskContext) {
  const { image, width = 200 } = task.json();
  for (let part = 1; part <= 3; part++) {
    // Fires when the task was canceled, its lease is lost, or the worker has to end.
    context.signal.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { image, width };
}

worker.on("completed", ({ task, result }) => {
  console.log(`${task.queue} ${task.id} completed ${JSON.stringify(result)}`);
});
worker.on("failed", ({ task, error }) => console.log(`${task.queue} ${task.id} failed: ${error}`));
worker.on("retried", ({ task, delayMs }) => console.log(`${task.id} again in ${delayMs} ms`));
worker.on("dead", ({ task, error }) => console.log(`${task.id} is dead: ${error}`));
worker.on("error", ({ error }) => console.log(`beside the tasks: ${error.code} ${error.message}`));

async function stop(): Promise<void> {
  // Running handlers get this long; what is left is handed back unharmed.
  await worker.stop({ graceSeconds: 20 });
  console.log("stopped");
}

process.once("SIGTERM", stop);
process.once("SIGINT", stop);

await worker.start();
console.log("working");
