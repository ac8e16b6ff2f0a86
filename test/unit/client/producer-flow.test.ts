/** A producer that is given more than the server takes: nothing is lost, and nothing piles up. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import {
  createProducer,
  type EnqueueItem,
  type EnqueueOutcome,
  type Producer,
  QuorumQError,
} from "../../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";

let server: FakeServer;
let producer: Producer;

beforeEach(async () => {
  server = new FakeServer();
  producer = createProducer({ endpoints: await server.listen() });
});

afterEach(async () => {
  server.holdAcks = false;
  server.reset();
  await producer.close();
  server.close();
});

function codeIs(code: string): (error: unknown) => boolean {
  return (error) => error instanceof QuorumQError && error.code === code;
}

function* items(count: number, read: number[] = []): Generator<EnqueueItem> {
  for (let i = 0; i < count; i++) {
    read.push(i);
    yield { queue: "mail", payload: i };
  }
}

async function turn(): Promise<void> {
  await new Promise(setImmediate);
}

function ids(outcomes: readonly EnqueueOutcome[]): string[] {
  return outcomes.map((outcome) => (outcome.kind === "created" ? outcome.id : ""));
}

test("a stream's outcomes come in the order of its source, each task once", async () => {
  const outcomes: EnqueueOutcome[] = [];
  for await (const outcome of producer.enqueueStream(items(3_000))) outcomes.push(outcome);
  const payloads = ids(outcomes).map((id) => server.created.get(id));
  assert.deepEqual(
    payloads,
    Array.from({ length: 3_000 }, (_, i) => `mail ${i}`),
  );
  assert.equal(server.created.size, 3_000);
  assert.ok(server.frames.length < 300, "many tasks share a frame");
});

test("a stream reads no further than the server keeps up", async () => {
  server.holdAcks = true;
  const read: number[] = [];
  const stream = producer.enqueueStream(items(100_000, read))[Symbol.asyncIterator]();
  const first = stream.next();
  await server.until(() => server.frames.length >= 2);
  for (let i = 0; i < 50; i++) await turn();
  assert.equal(read.length, limits.clientStreamTasks);
  server.holdAcks = false;
  server.reset();
  assert.equal((await first).value?.kind, "created");
  await stream.return?.();
  assert.ok(read.length <= limits.clientStreamTasks + 1, "left early, it reads no more");
});

test("a stream of large tasks is bounded by their bytes", async () => {
  server.holdAcks = true;
  let read = 0;
  const payload = Buffer.alloc(512 * 1024);
  function* large(): Generator<EnqueueItem> {
    for (;;) {
      read++;
      yield { queue: "mail", payload };
    }
  }
  const stream = producer.enqueueStream(large())[Symbol.asyncIterator]();
  const first = stream.next();
  await server.until(() => server.frames.length >= 8);
  for (let i = 0; i < 50; i++) await turn();
  const most =
    limits.clientWaitingBytes / 2 + limits.clientWindowBytes + 2 * limits.clientFrameBytes;
  assert.ok(read * payload.length <= most, `${read} tasks`);
  server.holdAcks = false;
  server.reset();
  await first;
  await stream.return?.();
});

test("a slow source does not hold back the outcomes of what it gave", async () => {
  let give = (): void => undefined;
  async function* slow(): AsyncGenerator<EnqueueItem> {
    yield { queue: "mail", payload: 1 };
    await new Promise<void>((resolve) => {
      give = resolve;
    });
    yield { queue: "mail", payload: 2 };
  }
  const stream = producer.enqueueStream(slow())[Symbol.asyncIterator]();
  assert.equal((await stream.next()).value?.kind, "created");
  const second = stream.next();
  await turn();
  give();
  assert.equal((await second).value?.kind, "created");
  assert.equal((await stream.next()).done, true);
});

test("a source that fails ends the stream after the outcomes of what it gave", async () => {
  function* failing(): Generator<EnqueueItem> {
    yield { queue: "mail", payload: 1 };
    yield { queue: "no name!", payload: 2 };
    throw new Error("the source broke");
  }
  const codes: string[] = [];
  const reading = async (): Promise<void> => {
    for await (const outcome of producer.enqueueStream(failing())) {
      codes.push(outcome.kind === "refused" ? outcome.error.code : outcome.kind);
    }
  };
  await assert.rejects(reading, /the source broke/u);
  assert.deepEqual(codes, ["created", "invalid_argument"]);
});

test("a stream lets go of its source when it is left, and ends when the producer is closed", async () => {
  let isReleased = false;
  function* held(): Generator<EnqueueItem> {
    try {
      yield* items(10_000);
    } finally {
      isReleased = true;
    }
  }
  for await (const outcome of producer.enqueueStream(held())) {
    assert.equal(outcome.kind, "created");
    break;
  }
  assert.equal(isReleased, true);

  await producer.close();
  const late = producer.enqueueStream(items(10))[Symbol.asyncIterator]();
  await assert.rejects(late.next(), codeIs("closed"));
});

test("ready waits while too much waits, and then everything enqueued is created", async () => {
  server.holdAcks = true;
  await producer.ready();
  const payloads = new Array<Buffer>(80).fill(Buffer.alloc(1024 * 1024 - 100));
  const many = producer.enqueueMany("mail", payloads);
  let isReady = false;
  const ready = producer.ready().then(() => {
    isReady = true;
  });
  await server.until(() => server.frames.length >= 16);
  for (let i = 0; i < 20; i++) await turn();
  assert.equal(isReady, false);
  server.holdAcks = false;
  server.reset();
  await ready;
  await producer.enqueue("mail", 1);
  assert.ok((await many).every(({ kind }) => kind === "created"));
});

test("close ends with every call answered, and those that wait for room refused", async () => {
  server.holdAcks = true;
  const calls = [1, 2, 3].map((n) =>
    producer.enqueueMany("mail", new Array<Buffer>(40).fill(Buffer.alloc(512 * 1024, n))),
  );
  const waiting = producer.ready();
  let isClosed = false;
  const closed = producer.close().then(() => {
    isClosed = true;
  });
  await assert.rejects(waiting, codeIs("closed"));
  await assert.rejects(producer.ready(), codeIs("closed"));
  await server.until(() => server.frames.length >= 2);
  await turn();
  assert.equal(isClosed, false);
  server.holdAcks = false;
  server.reset();
  const outcomes = (await Promise.all(calls)).flat();
  assert.ok(outcomes.every(({ kind }) => kind === "created"));
  await closed;
  assert.equal(new Set(ids(outcomes)).size, 120);
});

test("a producer tells of its connections and of the nodes", async () => {
  const told: unknown[] = [];
  producer.on("connected", ({ nodeId }) => told.push(nodeId));
  producer.on("disconnected", ({ error }) => told.push(error.code));
  producer.on("cluster", ({ nodes }) => told.push(nodes.map(({ id }) => id).join()));
  await producer.enqueue("mail", 1);
  server.tellNodes([{ id: "n1" }, { id: "n2" }]);
  while (told.length < 3) await turn();
  server.reset();
  await producer.enqueue("mail", 2);
  assert.deepEqual(told, ["n1", "", "n1,n2", "draining", "n1", ""]);
});
