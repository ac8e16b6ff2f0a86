/**
 * The same work on BullMQ, with its own client: `addBulk`, and workers that take many jobs at once
 * and leave nothing of a completed one. A result is acknowledged when its worker says `completed`, which
 * it does after Redis has answered.
 */
import { type Job, Queue, Worker } from "bullmq";
import { Meter } from "./meter.ts";
import type { BullmqPlan, LoadEvent, LoadResult } from "./protocol.ts";

const queueName = "bench";
/** As for the others' leases: no job is taken from its worker during a run. */
const lockMs = 300_000;

export async function runBullmq(
  plan: BullmqPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say);
  const { ledger } = meter;
  const connection = { host: "127.0.0.1", port: plan.port, maxRetriesPerRequest: null };
  const queue = new Queue(queueName, { connection, defaultJobOptions: { removeOnComplete: true } });
  const producers = new Producers(queue, plan, meter);
  const workers = Array.from({ length: plan.workers }, () => {
    const worker = new Worker(queueName, async (job) => ledger.delivered(numberIn(job)), {
      connection,
      concurrency: plan.concurrency,
      lockDuration: lockMs,
      stalledInterval: lockMs,
      removeOnComplete: { count: 0 },
    });
    worker.on("completed", (job) => {
      ledger.resultAcked(numberIn(job), meter.nowUs());
      producers.pump();
    });
    worker.on("failed", (_job, error) => meter.refused(error.message));
    worker.on("error", (error) => meter.refused(error.message));
    return worker;
  });
  producers.pump();
  await meter.measure(plan);
  producers.stop();
  await meter.drain(() => producers.inFlight === 0 && ledger.completed >= ledger.created);
  await Promise.all(workers.map((worker) => worker.close()));
  const counts = await queue.getJobCounts();
  const left = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (left > 0) meter.refused(`${left} jobs are left: ${JSON.stringify(counts)}`);
  await queue.close();
  return meter.result();
}

/** The payload, which BullMQ keeps as JSON: a string of digits that fills up the plan's size. */
function numberIn(job: Job<string>): number {
  return Number.parseInt(job.data, 10);
}

/** A window of `addBulk` calls. */
class Producers {
  inFlight = 0;
  private readonly queue: Queue;
  private readonly plan: BullmqPlan;
  private readonly meter: Meter;
  private readonly digits: number;
  private isCreating = true;

  constructor(queue: Queue, plan: BullmqPlan, meter: Meter) {
    this.queue = queue;
    this.plan = plan;
    this.meter = meter;
    this.digits = plan.payloadBytes - '""'.length;
  }

  pump(): void {
    const { batch, window, aheadMax } = this.plan;
    const { ledger } = this.meter;
    while (this.isCreating && this.inFlight < window && ledger.pending <= aheadMax - batch) {
      this.inFlight++;
      this.send(batch).catch(endProcess);
    }
  }

  stop(): void {
    this.isCreating = false;
  }

  private async send(batch: number): Promise<void> {
    const { ledger, createAck } = this.meter;
    const sentUs = this.meter.nowUs();
    const first = ledger.send(batch, sentUs);
    const jobs = Array.from({ length: batch }, (_, i) => ({
      name: "task",
      data: String(first + i).padStart(this.digits, "0"),
    }));
    await this.queue.addBulk(jobs);
    createAck.record((this.meter.nowUs() - sentUs) >>> 0, batch);
    for (let i = 0; i < batch; i++) ledger.createAcked(first + i);
    this.inFlight--;
    this.pump();
  }
}

/** An unhandled rejection ends the load (load/main.ts). */
function endProcess(error: unknown): never {
  throw error;
}
