/**
 * `quorumq bench`: full cycles against a server that runs. Counts a task once both its create and
 * its result were acknowledged within the measured time.
 */
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { loadWire, type Wire } from "../../api/proto.ts";
import { limits } from "../../base/limits.ts";
import { QuorumQError } from "../../client/errors.ts";
import { createProducerStream, type ProducerStream } from "../../client/producer-stream.ts";
import { createWorkerStream, type WorkerStream } from "../../client/worker-stream.ts";
import { parseCount, parseSeconds } from "../connection.ts";
import { cliExitCodes } from "../exit-codes.ts";
import { createProgress } from "../progress.ts";
import type { Session } from "../session.ts";

export interface BenchFlags {
  readonly seconds?: string;
  readonly warmUp?: string;
  readonly batch?: string;
  readonly size?: string;
  readonly producers?: string;
  readonly workers?: string;
}

interface Plan {
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly batch: number;
  readonly sizeBytes: number;
  readonly producers: number;
  readonly workers: number;
}

/** Frames that a producer stream has on the way: enough to keep the server's disk busy. */
const framesInFlight = 8;
/** Readys that a worker stream has on the way. */
const readysOut = 4;
/** Tasks that may wait: a bench that fills the store measures something else. */
const backlogMax = 100_000;
const drainMs = 30_000;

/** @returns 0, or 1 when something was lost or refused */
export async function runBench(session: Session, flags: BenchFlags): Promise<number> {
  const plan = planOf(flags);
  const { grpc, token } = await session.connection();
  const nonce = Buffer.alloc(6);
  session.effects.random.fill(nonce);
  const queue = `quorumq-bench-${nonce.toString("hex")}`;
  const bench = new Bench(session, plan, { queue, grpc, token, wire: loadWire() });
  const stop = new AbortController();
  session.terminal.onSignal(() => stop.abort());
  const progress = createProgress(session, {
    label: "bench",
    total: plan.warmUpSeconds + plan.seconds,
  });
  let isOpen = false;
  try {
    await bench.open();
    isOpen = true;
    await tick(session, { seconds: plan.warmUpSeconds, from: 0, stop, bench, progress });
    bench.measure();
    const fromMs = session.effects.clock.monotonicMs();
    await tick(session, { seconds: plan.seconds, from: plan.warmUpSeconds, stop, bench, progress });
    const seconds = (session.effects.clock.monotonicMs() - fromMs) / 1000;
    const measured = bench.result(seconds);
    await bench.drain(drainMs);
    progress.stop();
    return report(session, plan, { ...measured, ...bench.counts(), isCut: stop.signal.aborted });
  } finally {
    progress.stop();
    await bench.close();
    if (isOpen) await removeTasks(session, queue);
  }
}

function planOf(flags: BenchFlags): Plan {
  const count = (name: string, text: string | undefined, orElse: string, most: number): number =>
    parseCount(name, text ?? orElse, { least: 1, most });
  return {
    seconds: parseSeconds("--seconds", flags.seconds ?? "10", { least: 0.5, most: 3600 }),
    warmUpSeconds: parseSeconds("--warm-up", flags.warmUp ?? "3", { least: 0, most: 600 }),
    batch: count("--batch", flags.batch, "128", limits.runTasks),
    sizeBytes: parseCount("--size", flags.size ?? "14", { least: 2, most: limits.payloadBytes }),
    producers: count("--producers", flags.producers, "2", 64),
    workers: count("--workers", flags.workers, "2", 64),
  };
}

async function tick(
  session: Session,
  part: {
    readonly seconds: number;
    readonly from: number;
    readonly stop: AbortController;
    readonly bench: Bench;
    readonly progress: ReturnType<typeof createProgress>;
  },
): Promise<void> {
  const { clock } = session.effects;
  const fromMs = clock.monotonicMs();
  for (;;) {
    const passed = (clock.monotonicMs() - fromMs) / 1000;
    part.progress.update(part.from + passed, { tasks: part.bench.completed });
    part.bench.check();
    if (passed >= part.seconds || part.stop.signal.aborted) return;
    await session.sleep(Math.min(200, (part.seconds - passed) * 1000), part.stop.signal);
  }
}

interface Measured {
  readonly cyclesPerSecond: number;
  readonly createMs: Quantiles;
  readonly completeMs: Quantiles;
}

interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

interface Counts {
  readonly created: number;
  readonly completed: number;
  readonly refused: number;
}

class Bench {
  completed = 0;
  private created = 0;
  private refused = 0;
  private readonly session: Session;
  private readonly plan: Plan;
  private readonly target: Target;
  private readonly producers: ProducerStream[] = [];
  private readonly workers: WorkerStream[] = [];
  private readonly payload: Buffer;
  private readonly createUs = createHistogram();
  private readonly completeUs = createHistogram();
  /** Wake producers that wait because of the backlog. */
  private readonly pumps: (() => void)[] = [];
  private failure: QuorumQError | null = null;
  private isCreating = true;
  private before = 0;

  constructor(session: Session, plan: Plan, target: Target) {
    this.session = session;
    this.plan = plan;
    this.target = target;
    this.payload = Buffer.from(JSON.stringify("x".repeat(plan.sizeBytes - 2)));
  }

  /** Connects all streams and begins. @throws QuorumQError */
  async open(): Promise<void> {
    const opened: Promise<void>[] = [];
    for (let i = 0; i < this.plan.workers; i++) opened.push(this.openWorker());
    await this.session.withinTimeout(Promise.all(opened));
    for (let i = 0; i < this.plan.producers; i++) this.openProducer();
  }

  /** What came before does not count. */
  measure(): void {
    this.before = this.completed;
    this.createUs.reset();
    this.completeUs.reset();
  }

  result(seconds: number): Measured {
    this.isCreating = false;
    return {
      cyclesPerSecond: Math.round((this.completed - this.before) / seconds),
      createMs: quantiles(this.createUs),
      completeMs: quantiles(this.completeUs),
    };
  }

  counts(): Counts {
    const { created, completed, refused } = this;
    return { created, completed, refused };
  }

  /** @throws QuorumQError when the server has turned a stream away */
  check(): void {
    if (this.failure !== null) throw this.failure;
  }

  /** Waits until everything that was created is completed. */
  async drain(timeMs: number): Promise<void> {
    const { clock } = this.session.effects;
    const endMs = clock.monotonicMs() + timeMs;
    const isOver = () => this.producers.every(({ inFlight }) => inFlight === 0);
    while (!(isOver() && this.completed >= this.created) && clock.monotonicMs() < endMs) {
      this.check();
      await this.session.sleep(20);
    }
  }

  async close(): Promise<void> {
    this.isCreating = false;
    await Promise.all([...this.producers, ...this.workers].map((stream) => stream.close()));
  }

  private openProducer(): void {
    const { grpc: endpoints, token, wire, queue } = this.target;
    const stream = createProducerStream({ endpoints, token, wire, window: framesInFlight });
    const options = stream.encodeOptions(queue, {});
    const payloads = new Array<Buffer>(this.plan.batch).fill(this.payload);
    const { clock } = this.session.effects;
    const pump = (): void => {
      while (this.isCreating && stream.hasRoom && this.created - this.completed < backlogMax) {
        const sentMs = clock.monotonicMs();
        stream.sendBatch(options, payloads, (outcome) => {
          if (outcome.kind !== "acked") this.failure ??= outcome.error;
          else if (!outcome.acks.areAllOk) this.refused += this.plan.batch;
          else this.created += this.plan.batch;
          record(this.createUs, clock.monotonicMs() - sentMs);
          pump();
        });
      }
    };
    this.pumps.push(pump);
    this.producers.push(stream);
    pump();
  }

  private openWorker(): Promise<void> {
    const { grpc: endpoints, token, wire, queue } = this.target;
    const { clock } = this.session.effects;
    const sent: number[] = [];
    return new Promise((resolve, reject) => {
      const stream = createWorkerStream(
        { endpoints, token, wire, queues: [queue] },
        {
          opened: () => {
            sent.length = 0;
            for (let i = 0; i < readysOut; i++) stream.ready(this.plan.batch);
            resolve();
          },
          tasks: (frame) => {
            sent.push(clock.monotonicMs());
            stream.complete(frame);
            stream.ready(this.plan.batch);
          },
          resultAcks: (acks) => {
            record(this.completeUs, clock.monotonicMs() - (sent.shift() ?? clock.monotonicMs()));
            if (acks.areAllOk) this.completed += acks.count;
            else this.refused += acks.count;
            for (const pump of this.pumps) pump();
          },
          ack: () => undefined,
          canceled: () => undefined,
          lost: () => undefined,
          refused: (error) => {
            this.failure ??= error;
            reject(error);
          },
        },
      );
      this.workers.push(stream);
      stream.connect();
    });
  }
}

interface Target {
  readonly queue: string;
  readonly grpc: string;
  readonly token: string;
  readonly wire: Wire;
}

function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1000)));
}

function quantiles(us: RecordableHistogram): Quantiles {
  const at = (percentile: number): number =>
    us.count === 0 ? 0 : Math.round(us.percentile(percentile) / 10) / 100;
  return { p50: at(50), p99: at(99), p999: at(99.9) };
}

function report(
  session: Session,
  plan: Plan,
  done: Measured & Counts & { readonly isCut: boolean },
): number {
  const { created, completed, refused, isCut } = done;
  const lost = created - completed;
  session.output.answer({ ...plan, ...done, lost }, () =>
    session.output.fields([
      ["cycles per second", done.cyclesPerSecond],
      ["create p50, p99, p999 ms", quantileText(done.createMs)],
      ["complete p50, p99, p999 ms", quantileText(done.completeMs)],
      ["tasks in a message", plan.batch],
      ["created, completed", `${created}, ${completed}`],
      ["refused", refused === 0 ? "" : refused],
      ["lost", lost === 0 ? "" : lost],
    ]),
  );
  if (isCut) return cliExitCodes.interrupted;
  return lost === 0 && refused === 0 ? cliExitCodes.ok : cliExitCodes.failed;
}

function quantileText({ p50, p99, p999 }: Quantiles): string {
  return `${p50}, ${p99}, ${p999}`;
}

/** The bench's results need not stay for their retention; only an admin can remove them. */
async function removeTasks(session: Session, queue: string): Promise<void> {
  const http = await session.http();
  const states = ["ready", "leased", "completed"] as const;
  try {
    for (let more = true; more; ) {
      const done = await http.purge(queue, { states, limit: backlogMax });
      more = done.more || done.count === backlogMax;
    }
  } catch (error) {
    if (!(error instanceof QuorumQError)) throw error;
    session.terminal.note(`tasks of ${queue} stay for their retention: ${error.message}`);
  }
}
