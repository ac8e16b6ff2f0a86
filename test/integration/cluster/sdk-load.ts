/**
 * An application on the SDK that keeps a cluster busy: lanes that enqueue, one that creates over
 * HTTP and waits for the result, and a worker. Every call must succeed, whatever the nodes do;
 * how long one took is all that may show.
 */
import assert from "node:assert/strict";
import {
  createHttpClient,
  createProducer,
  createWorker,
  type HttpClient,
  type Producer,
  QuorumQError,
  type Worker,
} from "../../../src/client/index.ts";
import type { Cluster } from "./cluster.ts";

const lanes = 8;

export class SdkLoad {
  /** Ids by payload, as they were told. */
  readonly created = new Map<string, string>();
  /** Ids by payload, as the worker saw them: one each, or a retry made a second task. */
  readonly handled = new Map<string, Set<string>>();
  readonly completed = new Set<string>();
  /** Calls that failed. */
  readonly failures: string[] = [];
  /** Tasks that the worker lost under way. */
  readonly lost: string[] = [];
  /** Of the creates, on either way. */
  slowestMs = 0;
  readonly producer: Producer;
  readonly worker: Worker;
  readonly http: HttpClient;
  private readonly cluster: Cluster;
  private readonly running: Promise<void>[] = [];
  private isOver = false;

  /** @param known - nodes whose addresses it is given; the others it has to learn */
  constructor(cluster: Cluster, known = cluster.nodes.length) {
    this.cluster = cluster;
    const nodes = cluster.nodes.slice(0, known);
    const endpoints = nodes.map(({ ports }) => `127.0.0.1:${ports.grpc}`);
    this.producer = createProducer({ endpoints });
    this.http = createHttpClient({ endpoints: nodes.map(({ url }) => url) });
    this.worker = createWorker(
      { endpoints },
      {
        queues: ["sdk"],
        concurrency: 50,
        prefetch: 50,
        leaseSeconds: 5,
        handler: (task) => {
          const payload = String(task.json());
          const ids = this.handled.get(payload) ?? new Set();
          this.handled.set(payload, ids.add(task.id));
          return payload;
        },
      },
    );
    this.worker.on("completed", ({ task }) => this.completed.add(task.id));
    this.worker.on("lost", ({ task, error }) => this.lost.push(`${task.id} ${error.code}`));
    cluster.onStop(() => void this.end());
  }

  async start(): Promise<void> {
    await this.worker.start();
    for (let lane = 0; lane < lanes; lane++) this.running.push(this.enqueue(lane));
    this.running.push(this.look());
  }

  private async enqueue(lane: number): Promise<void> {
    for (let n = 0; !this.isOver; n++) {
      const payload = `${lane}-${n}`;
      const key = n % 4 === 0 ? { idempotencyKey: payload } : {};
      await this.timed("enqueue", async () => {
        const { id } = await this.producer.enqueue("sdk", payload, key);
        this.created.set(payload, id);
      });
    }
  }

  private async look(): Promise<void> {
    for (let n = 0; !this.isOver; n++) {
      const payload = `http-${n}`;
      await this.timed("create", async () => {
        const { id } = await this.http.create("sdk", payload, { idempotencyKey: payload });
        this.created.set(payload, id);
      });
      // Takes a lease's time where the task was on its way to the worker when its node died.
      await this.told("result", async () => {
        const id = this.created.get(payload) ?? "";
        const { result } = await this.http.getResult(id, { waitSeconds: 30 });
        assert.equal(result?.result, payload);
      });
    }
  }

  private async timed(what: string, call: () => Promise<void>): Promise<void> {
    const sinceMs = performance.now();
    await this.told(what, call);
    this.slowestMs = Math.max(this.slowestMs, performance.now() - sinceMs);
  }

  private async told(what: string, call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (this.isOver && error instanceof QuorumQError && error.code === "closed") return;
      this.failures.push(`${what}: ${String(error)}`);
    }
  }

  /** Waits until so many more tasks are completed. */
  async progress(more = 150): Promise<void> {
    const target = this.completed.size + more;
    await this.cluster.until(`${more} more completed`, async () => {
      assert.deepEqual(this.failures, []);
      return this.completed.size >= target ? true : null;
    });
  }

  /** Ends the load, waits until all that was created is completed, and checks every one. */
  async verify(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.running);
    assert.deepEqual(this.failures, []);
    const ids = [...this.created.values()];
    await this.cluster.until("every task is completed", async () =>
      ids.every((id) => this.completed.has(id)) ? true : null,
    );
    await this.end();
    assert.deepEqual(this.lost, []);
    const twice = [...this.handled].filter(([, tasks]) => tasks.size > 1);
    assert.deepEqual(twice, [], "a retry made a second task");
    assert.equal(this.handled.size, this.created.size);
  }

  private async end(): Promise<void> {
    this.isOver = true;
    await Promise.all([this.producer.close(), this.worker.stop({ graceSeconds: 0 })]);
  }
}
