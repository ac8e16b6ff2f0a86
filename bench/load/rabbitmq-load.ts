/**
 * The same work on a RabbitMQ queue: a window of messages whose confirms are awaited, and a consumer
 * that acknowledges with one frame what came in one turn of the event loop. Nothing answers such an ack;
 * that they arrived is seen at the end, when the queue is empty.
 */
import { type Channel, type ConfirmChannel, type ConsumeMessage, connect } from "amqplib";
import { sleep } from "../measure/sleep.ts";
import { Meter } from "./meter.ts";
import { createPayload, numberOf, setNumber } from "./payload.ts";
import type { LoadEvent, LoadResult, RabbitmqPlan } from "./protocol.ts";

/** How long the queue may take to say that it is empty. */
const emptyLooks = 100;
const emptyLookMs = 50;

export async function runRabbitmq(
  plan: RabbitmqPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say);
  const { ledger } = meter;
  // one connection each, as its makers advise: a blocked publisher holds up no acks
  const publishing = await connect(plan.url);
  const consuming = await connect(plan.url);
  for (const connection of [publishing, consuming]) connection.on("error", endProcess);
  const publisher = new Publisher(await publishing.createConfirmChannel(), plan, meter);
  const consumer = await consuming.createChannel();
  await consumer.prefetch(plan.prefetch);
  await consumeAll(consumer, plan, (tasks) => {
    const nowUs = meter.nowUs();
    for (const task of tasks) {
      ledger.delivered(task);
      ledger.resultAcked(task, nowUs);
    }
    publisher.pump();
  });
  publisher.pump();
  await meter.measure(plan);
  publisher.stop();
  await meter.drain(() => ledger.created >= ledger.sent && ledger.completed >= ledger.created);
  await consumer.close();
  const left = await leftIn(await publishing.createChannel(), plan.queue);
  if (left > 0) meter.refused(`${left} messages are left in the queue`);
  await publishing.close();
  await consuming.close();
  return meter.result();
}

/** Takes messages, and acknowledges once per turn of the event loop all that came in it. */
async function consumeAll(
  channel: Channel,
  plan: RabbitmqPlan,
  settled: (tasks: readonly number[]) => void,
): Promise<void> {
  let tasks: number[] = [];
  let last: ConsumeMessage | null = null;
  const settle = () => {
    if (last === null) return;
    const done = tasks;
    channel.ack(last, true);
    last = null;
    tasks = [];
    settled(done);
  };
  await channel.consume(plan.queue, (message) => {
    if (message === null) throw new Error("the queue is gone");
    tasks.push(numberOf(message.content, 0));
    if (last === null) setImmediate(settle);
    last = message;
  });
}

/** Messages that are ready, once nobody consumes: with those whose ack never came. */
async function leftIn(channel: Channel, queue: string): Promise<number> {
  let left = 0;
  for (let looks = 0; looks < emptyLooks; looks++) {
    left = (await channel.checkQueue(queue)).messageCount;
    if (left === 0) break;
    await sleep(emptyLookMs);
  }
  return left;
}

/** Message n of the channel is task n − 1, so a confirm names its tasks by itself. */
class Publisher {
  private readonly channel: ConfirmChannel;
  private readonly plan: RabbitmqPlan;
  private readonly meter: Meter;
  /** All up to this delivery tag were confirmed by "multiple". */
  private confirmedTo = 0;
  private isCreating = true;

  constructor(channel: ConfirmChannel, plan: RabbitmqPlan, meter: Meter) {
    this.channel = channel;
    this.plan = plan;
    this.meter = meter;
    channel.on("ack", ({ deliveryTag, multiple }) => this.confirmed(deliveryTag, multiple));
    channel.on("nack", () => endProcess(new Error("a message was refused")));
  }

  pump(): void {
    const { plan, meter } = this;
    const { ledger } = meter;
    while (
      this.isCreating &&
      ledger.sent - ledger.created < plan.window &&
      ledger.pending < plan.aheadMax
    ) {
      const payload = createPayload(plan.payloadBytes);
      setNumber(payload, ledger.send(1, meter.nowUs()));
      this.channel.publish("", plan.queue, payload, { persistent: true });
    }
  }

  stop(): void {
    this.isCreating = false;
  }

  private confirmed(tag: number, multiple: boolean): void {
    const { ledger, createAck } = this.meter;
    const nowUs = this.meter.nowUs();
    for (let t = multiple ? this.confirmedTo + 1 : tag; t <= tag; t++) {
      const task = t - 1;
      if (ledger.isCreated(task)) continue;
      createAck.record((nowUs - ledger.sentUs(task)) >>> 0);
      ledger.createAcked(task);
    }
    if (multiple) this.confirmedTo = tag;
    this.pump();
  }
}

/** Thrown where nobody waits: it ends the load (load/main.ts). */
function endProcess(error: unknown): never {
  throw error;
}
