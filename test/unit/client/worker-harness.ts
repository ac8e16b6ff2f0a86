/** A worker of the SDK against a scripted server: what its tests share. */
import { afterEach, beforeEach } from "node:test";
import {
  type ClientLogger,
  createWorker,
  QuorumQError,
  type TaskHandler,
  type Worker,
  type WorkerOptions,
} from "../../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";
import { ManualEffects } from "./manual-effects.ts";

export let server: FakeServer;
export let endpoint: string;
export let effects: ManualEffects;
export const workers: Worker[] = [];
export const errors: { code: string; taskId: string | undefined }[] = [];

beforeEach(async () => {
  server = new FakeServer();
  endpoint = await server.listen();
  effects = new ManualEffects();
  errors.length = 0;
});

afterEach(async () => {
  server.holdAcks = false;
  server.refuseSettles.clear();
  await Promise.all(workers.splice(0).map((worker) => worker.stop({ graceSeconds: 0 })));
  server.close();
});

/** Real timers, since no test waits for one; `manual` for those that move the clock. */
export async function start(
  handler: TaskHandler,
  options: Partial<WorkerOptions> & {
    readonly manual?: boolean;
    readonly logger?: ClientLogger;
  } = {},
): Promise<Worker> {
  const { manual, logger, ...rest } = options;
  const worker = createWorker(
    {
      endpoints: endpoint,
      ...(manual === true ? { effects } : {}),
      ...(logger === undefined ? {} : { logger }),
    },
    {
      queues: ["mail"],
      handler,
      onError: ({ code }, taskId) => errors.push({ code, taskId }),
      ...rest,
    },
  );
  workers.push(worker);
  await worker.start();
  return worker;
}

/** A handler that ends when the test says so. */
export function gate() {
  const waiting: (() => void)[] = [];
  const aborted: unknown[] = [];
  return {
    aborted,
    get running() {
      return waiting.length;
    },
    open: () => {
      for (const resolve of waiting.splice(0)) resolve();
    },
    handler: (_task: unknown, { signal }: { signal: AbortSignal }) =>
      new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => aborted.push(signal.reason));
        waiting.push(resolve);
      }),
  };
}

export function results() {
  return server.settlesOf("result_batch").flatMap((frame) => frame.results);
}

export function code(error: unknown): unknown {
  return error instanceof QuorumQError ? error.code : error;
}

/** What a client sent before has arrived once a Ready or settle sent after it has. */
export async function turn(): Promise<void> {
  await new Promise(setImmediate);
}
