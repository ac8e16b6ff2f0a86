/** A million frames that nobody should send. The seed is fixed: SEED=n chooses another one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { limits, MiB } from "../../../src/base/limits.ts";
import { FrameDecoder } from "../../../src/transport/frame.ts";
import { frameBodyBytesMax, nodeGroup } from "../../../src/transport/transport.ts";
import { Stream } from "../../sim/random.ts";
import { encodeFrame } from "./raw-node.ts";

const framesCount = 1_000_000;
const framesPerLook = 100;
const seed = Number(process.env["SEED"] ?? 7);

/** One of the ways in which a frame goes wrong; sometimes none. */
function mutate(frame: Buffer, random: Stream): Buffer {
  const at = random.between(0, frame.length - 1);
  switch (random.between(0, 7)) {
    case 0:
      frame[at] = (frame[at] as number) ^ (1 << random.between(0, 7));
      return frame;
    case 1:
      return frame.subarray(0, at);
    case 2:
      random.source.fill(frame);
      return frame;
    case 3:
      frame.writeUInt32BE(random.between(0, 0xffff_ffff), 0);
      return frame;
    case 4:
      frame.writeUInt32BE(random.between(0, 2 * limits.frameBytes), 4);
      return frame;
    case 5:
      frame.writeUInt32BE(random.between(0, frame.length), 4);
      return frame;
    case 6:
      random.source.fill(frame.subarray(at, at + 4));
      return frame;
    default:
      return frame;
  }
}

test(`5.3-11 a million random and mutated frames do no harm (seed ${seed})`, () => {
  const random = new Stream(seed, "frames");
  const models = Array.from({ length: 64 }, (_, i) => {
    const body = Buffer.alloc(i % 8 === 0 ? i * 40 : i % 50);
    random.source.fill(body);
    return encodeFrame(i % 3 === 0 ? nodeGroup : i, i * 3, body);
  });
  let taken = 0;
  let faults = 0;
  const sink = (group: number, _type: number, body: Buffer) => {
    assert.ok((group <= 255 || group === nodeGroup) && body.length <= frameBodyBytesMax);
    taken++;
    return true;
  };
  let decoder = new FrameDecoder(frameBodyBytesMax, sink);
  let longestUs = 0;
  let rssBefore = 0;
  let cpu = process.cpuUsage();
  for (let i = 0; i < framesCount; i++) {
    if (i === framesCount / 4) rssBefore = process.memoryUsage().rss;
    const bytes = mutate(Buffer.from(random.pick(models)), random);
    const cut = random.between(0, bytes.length);
    const fault = decoder.push(bytes.subarray(0, cut)) ?? decoder.push(bytes.subarray(cut));
    // a decoder that waits for a long body swallows the next frames; it is left at times
    if (fault !== null) faults++;
    if (fault !== null || random.chance(0.3)) decoder = new FrameDecoder(frameBodyBytesMax, sink);
    if (i % framesPerLook > 0) continue;
    // CPU time: on a busy machine the clock goes on while this process waits
    const { user, system } = process.cpuUsage(cpu);
    longestUs = Math.max(longestUs, user + system);
    cpu = process.cpuUsage();
  }
  const grown = process.memoryUsage().rss - rssBefore;
  assert.ok(longestUs < 100_000, `${longestUs} µs for ${framesPerLook} frames`);
  assert.ok(grown < 64 * MiB, `${grown} bytes of memory more than after a quarter`);
  assert.ok(taken > framesCount / 50 && faults > framesCount / 4, `${taken} taken, ${faults} not`);
});
