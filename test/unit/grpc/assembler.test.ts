import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BlockPool } from "../../../src/base/gather.ts";
import { limits, MiB } from "../../../src/base/limits.ts";
import { type Gathering, MessageAssembler } from "../../../src/edge/grpc/assembler.ts";
import { ConnectionFlow, NodeFlow } from "../../../src/edge/grpc/connection-flow.ts";
import { framed } from "./raw-http2.ts";

/** A call that takes pieces while it is not paused, as a stream does. */
class Call {
  readonly assembler: MessageAssembler;
  readonly messages: Buffer[] = [];
  isPaused = false;
  exhausted = "";
  private pieces: Buffer[] = [];

  constructor(gathering: Gathering, pool = new BlockPool(16, 4)) {
    this.assembler = new MessageAssembler(
      {
        pause: () => {
          this.isPaused = true;
        },
        resume: () => {
          this.isPaused = false;
        },
        putBack: (piece) => this.pieces.unshift(piece),
        exhaust: (details) => {
          this.exhausted = details;
        },
      },
      gathering,
      pool,
    );
  }

  send(piece: Buffer): void {
    this.pieces.push(piece);
    this.flow();
  }

  flow(): void {
    while (!this.isPaused && this.pieces[0]) {
      this.messages.push(...this.assembler.write(this.pieces.shift() as Buffer));
    }
  }

  /** Takes everything, however often it is paused. */
  takeAll(): void {
    while (this.pieces.length > 0) {
      this.isPaused = false;
      this.flow();
    }
  }
}

const free: Gathering = { holds: () => undefined };

test("messages come out as they went in, however the pieces are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }),
      (bodies, cuts) => {
        let held = 0;
        const call = new Call({ holds: (_call, bytes) => (held = bytes) });
        const frames = bodies.map((body) => framed(body));
        const all = Buffer.concat(frames);
        for (let at = 0, i = 0; at < all.length; i++) {
          const to = at + (cuts[i % cuts.length] as number);
          call.send(all.subarray(at, to));
          at = to;
        }
        call.takeAll();
        assert.deepEqual(call.messages, frames);
        assert.equal(held, 0);
      },
    ),
  );
});

test("of many messages in one piece the first few are handed out, the rest when it is read on", () => {
  const call = new Call(free);
  const frames = Array.from({ length: 40 }, (_, i) => framed(Buffer.from(`message ${i}`)));
  call.send(Buffer.concat(frames));
  assert.equal(call.messages.length, 16);
  assert.ok(call.isPaused);
  call.takeAll();
  assert.deepEqual(call.messages, frames);
});

test("5.2-04 the first message of a call may be short only, the next ones longer", () => {
  const long = (bytes: number) => {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(bytes, 1);
    return head;
  };
  assert.throws(() => new Call(free).send(long(limits.grpcFirstMessageBytes + 1)), /larger/u);
  const call = new Call(free);
  call.send(framed(Buffer.alloc(limits.grpcFirstMessageBytes)));
  call.send(framed(Buffer.alloc(MiB)));
  assert.equal(call.messages.length, 2);
  assert.throws(() => call.send(long(limits.grpcMessageBytes + 1)), /larger/u);
});

/** Calls that have said hello, and have sent all but the last byte of 8 MiB each. */
function unfinished(connection: ConnectionFlow, count: number): Call[] {
  const message = framed(Buffer.alloc(8 * MiB));
  const calls = Array.from({ length: count }, () => new Call(connection, pool));
  for (const call of calls) call.send(framed(Buffer.from("hello")));
  for (let at = 0; at < message.length - 1; at += 65_536) {
    const piece = message.subarray(at, Math.min(at + 65_536, message.length - 1));
    for (const call of calls) call.send(piece);
  }
  return calls;
}
const pool = new BlockPool(16 * 1024, 0);

test("5.2-09 a connection that gathers too much goes on with its oldest message", () => {
  const node = new NodeFlow();
  const calls = unfinished(new ConnectionFlow(node, null), 10);
  const bound = limits.grpcGatheringBytes + 8 * MiB;
  assert.ok(node.gathering.bytes > limits.grpcGatheringBytes);
  assert.ok(node.gathering.bytes <= bound, `${node.gathering.bytes} bytes are held`);
  assert.deepEqual(
    calls.map(({ isPaused }) => isPaused),
    calls.map((_, i) => i > 0),
  );
  for (const [i, call] of calls.entries()) {
    for (const other of calls) other.flow();
    call.send(Buffer.alloc(1));
    assert.equal(call.messages.length, 2, `call ${i} gets its message`);
  }
  assert.equal(node.gathering.bytes, 0);
  assert.ok(calls.every(({ exhausted }) => exhausted === ""));
});

test("5.2-09 a call that ends makes room for those that wait", () => {
  const node = new NodeFlow();
  const calls = unfinished(new ConnectionFlow(node, null), 3);
  const [first, second, third] = calls as [Call, Call, Call];
  assert.deepEqual([second.isPaused, third.isPaused], [true, true]);
  first.assembler.drop();
  for (const call of calls) call.flow();
  second.assembler.drop();
  for (const call of calls) call.flow();
  third.send(Buffer.alloc(1));
  assert.equal(third.messages.length, 2);
  assert.equal(node.gathering.bytes, 0);
});

test("5.2-09 if all connections gather too much, the one that holds most loses its messages", () => {
  const node = new NodeFlow();
  const small = unfinished(new ConnectionFlow(node, null), 1);
  const flooding = Array.from({ length: 5 }, () =>
    unfinished(new ConnectionFlow(node, null), 4),
  ).flat();
  assert.ok(node.gathering.bytes <= limits.grpcGatheringBytesNode);
  assert.ok(flooding.some(({ exhausted }) => exhausted !== ""));
  const [one] = small as [Call];
  one.send(Buffer.alloc(1));
  assert.deepEqual([one.messages.length, one.exhausted], [2, ""]);
  for (const call of flooding) call.assembler.drop();
  assert.equal(node.gathering.bytes, 0);
});
