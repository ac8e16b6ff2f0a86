/** The worker of the SDK: claims tasks, runs a handler for each, keeps leases alive and settles. */
import type { ConnectOptions } from "./connect.ts";
import { StreamWorker } from "./stream-worker.ts";
import type { AnyTasks } from "./task-map.ts";
import type { Worker, WorkerOptions } from "./worker-options.ts";
import type { TaskHandler } from "./worker-task.ts";

/**
 * Creates a worker.
 *
 * @example
 * const worker = createWorker(
 *   { endpoints: "127.0.0.1:9092", token: process.env.TOKEN },
 *   {
 *     queues: ["mail"],
 *     concurrency: 20,
 *     handler: async (task, { signal }) => {
 *       await send(task.json(), { signal });
 *       return { sent: true };
 *     },
 *   },
 * );
 * await worker.start();
 * process.once("SIGTERM", () => worker.stop({ graceSeconds: 20 }));
 */
export function createWorker<Tasks extends object = AnyTasks>(
  connect: ConnectOptions,
  options: WorkerOptions<Tasks>,
): Worker<Tasks> {
  const handler = options.handler as TaskHandler;
  // A task comes as it was enqueued: that it has its queue's type is the application's word.
  return new StreamWorker(connect, { ...options, handler }) as Worker<never> as Worker<Tasks>;
}
