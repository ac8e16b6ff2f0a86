/**
 * Worker streams that complete what they get at once: one frame of results per frame of tasks, and
 * the next Ready with it. Acks are awaited in the order of the frames; nothing waits for them but
 * the count.
 */
import type { ResultAckFrame, TaskFrame, WorkerStream } from "../../src/client/worker-stream.ts";
import type { ClientBuild } from "./client-build.ts";
import type { Meter } from "./meter.ts";
import { numberOf } from "./payload.ts";
import type { Target } from "./protocol.ts";

export interface WorkerPlan {
  readonly target: Target;
  readonly queue: string;
  readonly workers: number;
  readonly readys: number;
  readonly readyCount: number;
  readonly leaseSeconds?: number;
  readonly spread?: readonly string[];
}

export interface WorkerEvents {
  /** Some results were acknowledged. */
  acked(): void;
}

export class Workers {
  private readonly workers: Worker[];

  constructor(build: ClientBuild, plan: WorkerPlan, meter: Meter, events: WorkerEvents) {
    this.workers = Array.from(
      { length: plan.workers },
      (_, i) => new Worker(build, plan, { meter, events, place: i }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.stream.close()));
  }
}

class Worker {
  readonly stream: WorkerStream;
  private readonly plan: WorkerPlan;
  private readonly meter: Meter;
  private readonly events: WorkerEvents;
  /** Numbers of the tasks in each frame of results that is not acknowledged, oldest first. */
  private unacked: Float64Array[] = [];

  constructor(
    build: ClientBuild,
    plan: WorkerPlan,
    shared: { readonly meter: Meter; readonly events: WorkerEvents; readonly place: number },
  ) {
    this.plan = plan;
    this.meter = shared.meter;
    this.events = shared.events;
    const { spread = [plan.target.grpc] } = plan;
    const { token } = plan.target;
    const endpoints = spread[shared.place % spread.length] as string;
    const lease = plan.leaseSeconds === undefined ? {} : { leaseSeconds: plan.leaseSeconds };
    this.stream = build.createWorkerStream(
      { endpoints, token, queues: [plan.queue], wire: build.wire, ...lease },
      {
        opened: () => this.opened(),
        tasks: (tasks) => this.tasks(tasks),
        resultAcks: (acks) => this.resultAcks(acks),
        ack: () => undefined,
        canceled: () => undefined,
        // Results on their way may be lost with the stream: their tasks come again, as redelivered.
        lost: () => undefined,
        refused: (error) => {
          throw error;
        },
      },
    );
    this.stream.connect();
  }

  private opened(): void {
    this.unacked = [];
    for (let i = 0; i < this.plan.readys; i++) this.stream.ready(this.plan.readyCount);
  }

  private tasks(frame: TaskFrame): void {
    const { ledger } = this.meter;
    this.stream.complete(frame);
    this.stream.ready(this.plan.readyCount);
    const numbers = new Float64Array(frame.count);
    for (let i = 0; i < frame.count; i++) {
      const task = numberOf(frame.buffer, frame.payloadFrom[i] as number);
      numbers[i] = task;
      ledger.delivered(task);
    }
    this.unacked.push(numbers);
  }

  private resultAcks(acks: ResultAckFrame): void {
    const { ledger } = this.meter;
    const numbers = this.unacked.shift();
    if (numbers === undefined || numbers.length !== acks.count) {
      throw new Error(`${acks.count} result acks for ${numbers?.length ?? "no"} results`);
    }
    const nowUs = this.meter.nowUs();
    const failures = acks.areAllOk ? null : acks.decode().failures;
    for (let i = 0; i < numbers.length; i++) {
      const failure = failures?.[i];
      if (failure === undefined) ledger.resultAcked(numbers[i] as number, nowUs);
      else this.meter.refused(`result ${failure.code}: ${failure.message}`);
    }
    this.events.acked();
  }
}
