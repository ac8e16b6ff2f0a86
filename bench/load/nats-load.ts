/**
 * The same work on a NATS JetStream work queue, with its official client: publish, pull, ack; in the
 * three ways that NatsMode names.
 */
import { type ConsumerMessages, type JsMsg, jetstream } from "@nats-io/jetstream";
import { connect, createInbox, type NatsConnection } from "@nats-io/transport-node";
import { Meter } from "./meter.ts";
import { createPayload, numberOf, setNumber } from "./payload.ts";
import type { LoadEvent, LoadResult, NatsPlan } from "./protocol.ts";

/** `{"stream":…` is an ack, `{"error":…` is none. */
const firstOfStream = "s".charCodeAt(0);

export async function runNats(
  plan: NatsPlan,
  say: (event: LoadEvent) => void,
): Promise<LoadResult> {
  const meter = new Meter(say);
  const { ledger } = meter;
  const connection = await connect({ servers: plan.server });
  let isCreating = true;
  const mayCreate = () => isCreating && ledger.pending <= plan.aheadMax - plan.batch;
  const publishers = new Publishers(connection, plan, meter, mayCreate);
  const acked = () => publishers.pump();
  const messages = await consume(connection, plan, (message) => {
    const task = numberOf(message.data, 0);
    ledger.delivered(task);
    if (plan.mode !== "awaited") {
      message.ack();
      ledger.resultAcked(task, meter.nowUs());
      acked();
      return;
    }
    message
      .ackAck()
      .then((isAcked) => {
        if (!isAcked) throw new Error("an ack was not acknowledged");
        ledger.resultAcked(task, meter.nowUs());
        acked();
      })
      .catch(endProcess);
  });
  publishers.pump();
  await meter.measure(plan);
  isCreating = false;
  await meter.drain(() => publishers.inFlight === 0 && ledger.completed >= ledger.created);
  messages.stop();
  await connection.close();
  return meter.result();
}

async function consume(
  connection: NatsConnection,
  plan: NatsPlan,
  callback: (message: JsMsg) => void,
): Promise<ConsumerMessages> {
  const consumer = await jetstream(connection).consumers.get(plan.stream, plan.consumer);
  return await consumer.consume({ max_messages: plan.pullMessages, callback });
}

/** A window of batches; each has a slot of its own. */
class Publishers {
  inFlight = 0;
  private readonly mayCreate: () => boolean;
  private readonly meter: Meter;
  private readonly idle: Slot[];
  private readonly send: (slot: Slot) => void;

  constructor(connection: NatsConnection, plan: NatsPlan, meter: Meter, mayCreate: () => boolean) {
    this.meter = meter;
    this.mayCreate = mayCreate;
    const slots = Array.from({ length: plan.window }, () => new Slot(plan));
    this.idle = [...slots];
    const acked = (slot: Slot) => this.acked(slot);
    this.send =
      plan.mode === "counted"
        ? publishCounted(connection, plan.subject, slots, acked)
        : publishByApi(connection, plan.subject, acked);
  }

  pump(): void {
    while (this.idle.length > 0 && this.mayCreate()) {
      const slot = this.idle.pop() as Slot;
      this.inFlight++;
      slot.fill(this.meter);
      this.send(slot);
    }
  }

  private acked(slot: Slot): void {
    const { ledger, createAck } = this.meter;
    createAck.record((this.meter.nowUs() - slot.sentUs) >>> 0, slot.payloads.length);
    for (let i = 0; i < slot.payloads.length; i++) ledger.createAcked(slot.first + i);
    this.inFlight--;
    this.idle.push(slot);
    this.pump();
  }
}

class Slot {
  unacked = 0;
  first = 0;
  sentUs = 0;
  /** One per message: the client keeps them until it writes. */
  readonly payloads: Buffer[];

  constructor(plan: NatsPlan) {
    this.payloads = Array.from({ length: plan.batch }, () => createPayload(plan.payloadBytes));
  }

  fill(meter: Meter): void {
    this.sentUs = meter.nowUs();
    this.first = meter.ledger.send(this.payloads.length, this.sentUs);
    this.unacked = this.payloads.length;
    this.payloads.forEach((payload, i) => {
      setNumber(payload, this.first + i);
    });
  }
}

/** An unhandled rejection ends the load (load/main.ts). */
function endProcess(error: unknown): never {
  throw error;
}

function publishByApi(connection: NatsConnection, subject: string, acked: (slot: Slot) => void) {
  const client = jetstream(connection);
  return (slot: Slot): void => {
    const published = slot.payloads.map((payload) => client.publish(subject, payload));
    Promise.all(published)
      .then(() => acked(slot))
      .catch(endProcess);
  };
}

/** The reply subject ends with the slot's number. */
function publishCounted(
  connection: NatsConnection,
  subject: string,
  slots: readonly Slot[],
  acked: (slot: Slot) => void,
) {
  const inbox = `${createInbox()}.`;
  const replies = new Map(slots.map((slot, i) => [slot, { reply: `${inbox}${i}` }]));
  connection.subscribe(`${inbox}*`, {
    callback: (error, ack) => {
      if (error !== null) throw error;
      if (ack.data[2] !== firstOfStream) throw new Error(`publish refused: ${ack.string()}`);
      const slot = slots[Number(ack.subject.slice(inbox.length))] as Slot;
      slot.unacked--;
      if (slot.unacked === 0) acked(slot);
    },
  });
  return (slot: Slot): void => {
    const options = replies.get(slot);
    for (const payload of slot.payloads) connection.publish(subject, payload, options);
  };
}
