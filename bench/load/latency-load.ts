/** One task at a time through an idle node: how long a create and a delivery take by themselves. */
import { LatencyHistogram } from "../measure/histogram.ts";
import { sleep } from "../measure/sleep.ts";
import type { ClientBuild } from "./client-build.ts";
import { Meter } from "./meter.ts";
import { createPayload, numberOf, payloadBytesMin, setNumber } from "./payload.ts";
import type { LatencyPlan, LoadEvent, LoadResult } from "./protocol.ts";

/** The first ones compile the code and are not counted: about 10 s, as long as other scenarios. */
const warmupTasks = 5000;
/** Between two tasks, so that the node is idle when the next one comes. */
const pauseMs = 3;

/**
 * Measures from just before the frame is sent: to its ack (`createAck`), and to the task's arrival
 * at a worker whose Ready waits (`endToEnd`).
 */
export async function runLatency(
  build: ClientBuild,
  plan: LatencyPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say);
  const lone = new LoneTask(build, plan, meter);
  await lone.opened;
  for (let i = 0; i < warmupTasks; i++) await lone.run();
  meter.createAck.reset();
  lone.delivery.reset();
  say({ kind: "measuring" });
  for (let i = 0; i < plan.repetitions; i++) {
    await sleep(pauseMs);
    await lone.run();
  }
  say({ kind: "measured" });
  await lone.close();
  return { ...meter.result(), endToEnd: lone.delivery.summary() };
}

class LoneTask {
  /** Resolves when the worker waits. */
  readonly opened: Promise<void>;
  /** From create sent to delivered. */
  readonly delivery = new LatencyHistogram();
  private readonly meter: Meter;
  private readonly payload = createPayload(payloadBytesMin);
  private readonly producer: ReturnType<ClientBuild["createProducerStream"]>;
  private readonly worker: ReturnType<ClientBuild["createWorkerStream"]>;
  private readonly queue: string;
  private sentUs = 0;
  private task = 0;
  /** Of ack, and result ack: how many are still to come. */
  private waiting = 0;
  private finish: () => void = () => undefined;

  constructor(build: ClientBuild, plan: LatencyPlan, meter: Meter) {
    const { grpc: endpoints, token } = plan.target;
    const { wire } = build;
    this.meter = meter;
    this.queue = plan.queue;
    this.producer = build.createProducerStream({ endpoints, token, wire });
    let open: () => void = () => undefined;
    this.opened = new Promise((resolve) => {
      open = resolve;
    });
    this.worker = build.createWorkerStream(
      { endpoints, token, wire, queues: [plan.queue] },
      {
        opened: () => {
          this.worker.ready(1);
          open();
        },
        tasks: (frame) => {
          this.delivery.record((this.meter.nowUs() - this.sentUs) >>> 0);
          this.meter.ledger.delivered(numberOf(frame.buffer, frame.payloadFrom[0] as number));
          this.worker.complete(frame);
        },
        resultAcks: (acks) => {
          if (!acks.areAllOk) throw new Error("the result was refused");
          this.meter.ledger.resultAcked(this.task, 0);
          this.worker.ready(1);
          this.step();
        },
        ack: () => undefined,
        canceled: () => undefined,
        lost: (error) => {
          throw error;
        },
        refused: (error) => {
          throw error;
        },
      },
    );
    this.worker.connect();
  }

  /** Creates one task and waits until its result is acknowledged. */
  run(): Promise<void> {
    return new Promise((resolve) => {
      this.finish = resolve;
      this.waiting = 2;
      const { meter, producer } = this;
      const options = producer.encodeOptions(this.queue, {});
      this.task = meter.ledger.send(1, 0);
      setNumber(this.payload, this.task);
      this.sentUs = meter.nowUs();
      producer.sendBatch(options, [this.payload], (outcome) => {
        if (outcome.kind !== "acked" || !outcome.acks.areAllOk) throw new Error("create refused");
        meter.createAck.record((meter.nowUs() - this.sentUs) >>> 0);
        meter.ledger.createAcked(this.task);
        this.step();
      });
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.producer.close(), this.worker.close()]);
  }

  private step(): void {
    this.waiting--;
    if (this.waiting === 0) this.finish();
  }
}
