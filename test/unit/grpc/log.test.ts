/** What streams leave in the log: a line per refusal and per slow frame, with the stream's id. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCreate, encodeCreateBatch } from "../../../src/api/create-coder.ts";
import { openProducer, producer, until, wire, worker } from "./harness.ts";
import { complete, make, on, takeOne } from "./worker-harness.ts";

const payload = Buffer.from("{}");

function linesWith(text: string) {
  return on.lines.filter((line) => line.text === text).map(({ fields }) => fields);
}

test("a refused stream leaves one line with its id and status", async () => {
  const stream = openProducer(on);
  stream.send(wire.encodeProducerHello({ token: "nobody", followLeader: false }));
  assert.equal((await stream.ended).code, 16);
  assert.deepEqual(linesWith("stream refused"), [
    { stream: "n1-g1", service: "producer", status: 16 },
  ]);
});

test("a stream that is not let in leaves one, too", async () => {
  const open = await worker(on);
  make(1);
  const held = await takeOne(open);
  const drained = on.server.drain();
  const late = openProducer(on);
  assert.equal((await late.ended).code, 14);
  const service = "/producerpb.ProducerStream/Stream";
  assert.deepEqual(linesWith("stream refused"), [{ stream: "n1-g2", service, status: 14 }]);
  open.send(complete(held.id, held.leaseToken));
  await drained;
});

test("a frame that waits long for its ack leaves one line, and a quick one none", async () => {
  const stream = await producer(on);
  stream.send(encodeCreate({ seq: 1, queue: "mail", payload }, null));
  await stream.next();
  on.router.hold = true;
  const tasks = [2, 3].map((seq) => ({ seq, queue: "mail", payload }));
  stream.send(encodeCreateBatch(tasks, null));
  await until(() => on.router.heldAnswers === 1, "the frame is under way");
  on.advance(2_500);
  on.router.release();
  await stream.next();
  const [line, ...more] = linesWith("slow request");
  assert.deepEqual(more, []);
  const { ms, ...rest } = line ?? {};
  assert.deepEqual(rest, { stream: "n1-g1", service: "producer", frames: 1 });
  assert.ok(Number(ms) >= 2_500 && Number(ms) < 10_000, String(ms));
});

test("so does a settle", async () => {
  const stream = await worker(on);
  make(1);
  const { id, leaseToken } = await takeOne(stream);
  on.router.hold = true;
  stream.send(complete(id, leaseToken));
  await until(() => on.router.heldAnswers === 1, "the settle is under way");
  on.advance(2_500);
  on.router.release();
  await stream.next();
  const services = linesWith("slow request").map(({ service, frames }) => [service, frames]);
  assert.deepEqual(services, [["worker", 1]]);
});
