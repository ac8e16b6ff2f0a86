import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InvariantError } from "../../../src/base/assert.ts";
import { crc32c } from "../../../src/base/crc32c.ts";
import { limits, MiB } from "../../../src/base/limits.ts";
import { FrameBatch, FrameDecoder, frameHeadBytes } from "../../../src/transport/frame.ts";
import { frameBodyBytesMax, nodeGroup } from "../../../src/transport/transport.ts";
import { encodeFrame } from "./raw-node.ts";

interface Frame {
  readonly group: number;
  readonly type: number;
  readonly body: Buffer;
}

function createDecoder(frames: Frame[], bodyBytesMax = frameBodyBytesMax): FrameDecoder {
  return new FrameDecoder(bodyBytesMax, (group, type, body) => {
    frames.push({ group, type, body });
    return true;
  });
}

/** Group, length and type of a frame, with the checksum that goes with them and an empty body. */
function headOf(group: number, length: number, type = 1): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUInt32BE(group, 0);
  head.writeUInt32BE(length, 4);
  head[8] = type;
  head.writeUInt32BE(crc32c(head, 0, 9), 9);
  return head;
}

test("frames come back as they were, however the bytes are cut", () => {
  const part = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.integer({ min: 4000, max: 200_000 }).map((size) => new Uint8Array(size).fill(size % 251)),
  );
  const frame = fc.record({
    group: fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constant(nodeGroup)),
    type: fc.integer({ min: 0, max: 255 }),
    parts: fc.array(part, { maxLength: 4 }),
  });
  const cuts = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 12 }), cuts, (sent, sizes) => {
      const batch = new FrameBatch();
      for (const { group, type, parts } of sent) batch.add(group, type, parts);
      const waiting = batch.bytes;
      const chunks: Uint8Array[] = [];
      while (batch.bytes > 0) chunks.push(...batch.take(50_000));
      const bytes = Buffer.concat(chunks);
      assert.equal(bytes.length, waiting);
      const seen: Frame[] = [];
      const decoder = createDecoder(seen);
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length] ?? 1;
        assert.equal(decoder.push(Buffer.from(bytes.subarray(at, at + size))), null);
        at += size;
      }
      const told = sent.map(({ parts, ...rest }) => ({ ...rest, body: Buffer.concat(parts) }));
      assert.deepEqual(seen, told);
    }),
    { numRuns: 300 },
  );
});

test("the layout is the one that the map gives", () => {
  const bytes = encodeFrame(7, 9, Buffer.from("hi"));
  assert.equal(bytes.subarray(0, 9).toString("hex"), "000000070000000709");
  assert.equal(bytes.readUInt32BE(9), crc32c(Buffer.from("000000070000000709" + "6869", "hex")));
  assert.equal(bytes.subarray(13).toString(), "hi");
});

test("a batch copies small parts together and leaves large ones where they are", () => {
  const batch = new FrameBatch();
  const large = Buffer.alloc(10_000, 1);
  for (let i = 0; i < 100; i++) batch.add(1, 1, [Buffer.from("small")]);
  batch.add(1, 1, [Buffer.from("head"), large]);
  batch.add(1, 1, [Buffer.from("small")]);
  const chunks = batch.take(Number.POSITIVE_INFINITY);
  assert.equal(chunks.length, 3);
  assert.equal(chunks[1], large);
  assert.equal(batch.bytes, 0);
});

test("what is handed out is not written to by later frames", () => {
  const batch = new FrameBatch();
  batch.add(1, 1, [Buffer.from("first")]);
  const [chunk] = batch.take(1);
  const before = Buffer.from(chunk ?? []);
  for (let i = 0; i < 5_000; i++) batch.add(2, 2, [Buffer.from("later")]);
  assert.deepEqual(Buffer.from(chunk ?? []), before);
});

test("a kept body pins no more than twice its bytes", () => {
  const frames: Frame[] = [];
  const small = encodeFrame(1, 1, Buffer.alloc(5_000));
  const large = encodeFrame(1, 1, Buffer.alloc(40_000));
  createDecoder(frames).push(Buffer.concat([small, large, small]));
  for (const { body } of frames) {
    assert.ok(body.buffer.byteLength <= 2 * body.length + 8192, `${body.buffer.byteLength}`);
  }
  assert.equal(frames.length, 3);
});

test("a frame that no decoder takes is not made", () => {
  const batch = new FrameBatch();
  assert.throws(() => batch.add(256, 1, []), InvariantError);
  assert.throws(() => batch.add(1, 256, []), InvariantError);
  assert.throws(() => batch.add(1, 1, [Buffer.alloc(frameBodyBytesMax + 1)]), InvariantError);
});

test("5.3-02 an unknown group is refused with its fourth byte", () => {
  for (const group of [256, 0xffff_ffff, 0xffff_fffd, 0x4745_5420]) {
    const frames: Frame[] = [];
    const decoder = createDecoder(frames);
    const head = headOf(group, 5);
    for (let i = 0; i < 3; i++) assert.equal(decoder.push(head.subarray(i, i + 1)), null);
    assert.equal(decoder.push(head.subarray(3, 4)), "group");
    assert.equal(createDecoder(frames).push(head), "group");
    assert.equal(frames.length, 0);
  }
});

test("5.3-04 a length that cannot be is refused before memory is taken for it", () => {
  for (const length of [0, 4, limits.frameBytes + 1, 0xffff_ffff]) {
    const frames: Frame[] = [];
    assert.equal(createDecoder(frames).push(headOf(3, length)), "length", `${length}`);
    assert.equal(createDecoder(frames).push(headOf(3, length).subarray(0, 8)), "length");
  }
  const frames: Frame[] = [];
  assert.equal(createDecoder(frames).push(headOf(3, 5)), null);
  assert.equal(frames.length, 1);
  // before the proof of the secret, no more than a handshake needs
  const early = createDecoder(frames, limits.handshakeBytes);
  assert.equal(early.push(headOf(nodeGroup, 5 + limits.handshakeBytes + 1)), "length");
});

test("5.3-04 a long body takes memory as it comes, not as it is announced", () => {
  const before = process.memoryUsage().arrayBuffers;
  const frames: Frame[] = [];
  const decoders = Array.from({ length: 100 }, () => createDecoder(frames));
  for (const decoder of decoders) {
    decoder.push(headOf(3, limits.frameBytes));
    decoder.push(Buffer.alloc(1_000));
  }
  const taken = process.memoryUsage().arrayBuffers - before;
  assert.ok(taken < 16 * MiB, `${taken} bytes for 100 bodies of 16 MiB of which 1,000 bytes came`);
  assert.equal(frames.length, 0);
});

test("5.3-04 a wrong checksum is refused, wherever the bit is", () => {
  const whole = encodeFrame(3, 7, Buffer.from("a body of some length"));
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const bytes = Buffer.from(whole);
    const at = bit >> 3;
    bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
    const frames: Frame[] = [];
    const decoder = createDecoder(frames);
    // a longer length only waits for more
    const fault = decoder.push(bytes) ?? decoder.push(Buffer.alloc(70_000)) ?? "waits";
    assert.ok(fault !== "waits" || bytes.readUInt32BE(4) > 70_000, `bit ${bit}`);
    assert.equal(frames.length, 0);
  }
});

test("nothing is decoded after a fault, or when the receiver has enough", () => {
  const frames: Frame[] = [];
  const decoder = createDecoder(frames);
  assert.equal(decoder.push(headOf(300, 5)), "group");
  decoder.push(encodeFrame(1, 1, Buffer.alloc(3)));
  assert.equal(frames.length, 0);
  let seen = 0;
  const sated = new FrameDecoder(100, () => {
    seen++;
    return false;
  });
  const frame = encodeFrame(1, 1, Buffer.alloc(3));
  assert.equal(sated.push(Buffer.concat([frame, frame])), null);
  assert.equal(seen, 1);
});
