/**
 * Producer streams with a window of frames each. Every frame in flight has a slot with payloads of
 * its own, made once: a task costs its number written into its payload, and no object.
 */

import { parseTaskId, shardOfTaskId, taskIdBytes } from "../../src/base/task-id.ts";
import type { FrameOutcome, ProducerStream } from "../../src/client/producer-stream.ts";
import type { ClientBuild } from "./client-build.ts";
import type { Meter } from "./meter.ts";
import { createPayload, setNumber } from "./payload.ts";
import type { Target } from "./protocol.ts";

export interface ProducerPlan {
  readonly target: Target;
  readonly queue: string;
  readonly payloadBytes: number;
  readonly batch: number;
  readonly producers: number;
  readonly window: number;
  readonly spread?: readonly string[];
  readonly shards?: number;
}

/** Tasks whose ids are kept: one of the first frame of each slot, and one in so many frames. */
const samplesMax = 200;
const sampleFrames = 997;

export class Producers {
  private readonly streams: ProducerStream[] = [];
  private readonly parked: Slot[] = [];
  private readonly meter: Meter;
  /** Whether one more frame may be sent now. */
  private readonly mayCreate: () => boolean;
  private readonly shards: number;
  private frames = 0;
  /** Frames sent and not acknowledged. */
  inFlight = 0;

  constructor(build: ClientBuild, plan: ProducerPlan, meter: Meter, mayCreate: () => boolean) {
    this.meter = meter;
    this.mayCreate = mayCreate;
    this.shards = plan.shards ?? 0;
    for (let i = 0; i < this.shards; i++) meter.perShard.push(0);
    const { spread = [plan.target.grpc] } = plan;
    for (let i = 0; i < plan.producers; i++) {
      const stream = build.createProducerStream({
        endpoints: spread[i % spread.length] as string,
        token: plan.target.token,
        wire: build.wire,
        window: plan.window,
      });
      this.streams.push(stream);
      for (let k = 0; k < plan.window; k++) this.parked.push(new Slot(this, stream, plan));
    }
  }

  /** Sends from every idle slot as long as it may. */
  pump(): void {
    while (this.parked.length > 0 && this.mayCreate()) {
      const slot = this.parked.shift();
      slot?.send(this.meter);
      this.inFlight++;
    }
  }

  finished(slot: Slot, outcome: FrameOutcome): void {
    this.inFlight--;
    this.frames++;
    const { ledger, createAck } = this.meter;
    if (outcome.kind !== "acked") throw outcome.error;
    createAck.record((this.meter.nowUs() - slot.sentUs) >>> 0, slot.count);
    if (outcome.acks.areAllOk) {
      for (let i = 0; i < slot.count; i++) ledger.createAcked(slot.first + i);
    } else {
      outcome.acks.decode().failures.forEach((failure, i) => {
        if (failure === undefined) ledger.createAcked(slot.first + i);
        else this.meter.refused(`create ${failure.code}: ${failure.message}`);
      });
    }
    if (this.shards > 0) this.countShard(outcome.acks.decode().taskIds[0] ?? "", slot.count);
    const isSample = this.frames % sampleFrames === 1 || this.frames <= this.streams.length;
    if (isSample && outcome.acks.areAllOk && this.meter.samples.length < samplesMax) {
      const id = outcome.acks.decode().taskIds[0] as string;
      this.meter.samples.push({ id, task: slot.first });
    }
    this.parked.push(slot);
    this.pump();
  }

  /** All tasks of a frame are of one shard. */
  private countShard(id: string, count: number): void {
    const bytes = new Uint8Array(taskIdBytes);
    if (!parseTaskId(id, bytes)) return;
    const { perShard } = this.meter;
    const shard = shardOfTaskId(bytes, 0, this.shards);
    perShard[shard] = (perShard[shard] ?? 0) + count;
  }

  async close(): Promise<void> {
    await Promise.all(this.streams.map((stream) => stream.close()));
  }
}

class Slot {
  first = 0;
  sentUs = 0;
  readonly count: number;
  private readonly stream: ProducerStream;
  private readonly options: ReturnType<ProducerStream["encodeOptions"]>;
  private readonly payloads: Buffer[];
  private readonly done: (outcome: FrameOutcome) => void;

  constructor(owner: Producers, stream: ProducerStream, plan: ProducerPlan) {
    this.stream = stream;
    this.options = stream.encodeOptions(plan.queue, {});
    this.count = plan.batch;
    this.payloads = Array.from({ length: plan.batch }, () => createPayload(plan.payloadBytes));
    this.done = (outcome) => owner.finished(this, outcome);
  }

  send(meter: Meter): void {
    this.sentUs = meter.nowUs();
    this.first = meter.ledger.send(this.count, this.sentUs);
    for (let i = 0; i < this.count; i++) setNumber(this.payloads[i] as Buffer, this.first + i);
    this.stream.sendBatch(this.options, this.payloads, this.done);
  }
}
