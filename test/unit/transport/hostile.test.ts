/**
 * Whatever may come to the node-to-node port: strangers, nodes of others, broken nodes. Rows of
 * the catalogue of bad inputs; each ends with the node alive and serving its peers.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { toStoreId } from "../../../src/base/brand.ts";
import type { LogFields, Logger } from "../../../src/base/effects.ts";
import { limits, MiB } from "../../../src/base/limits.ts";
import { magic, ownTypes } from "../../../src/transport/handshake.ts";
import { nodeGroup, type RefusalReason } from "../../../src/transport/transport.ts";
import { ClusterNode, clusterIds } from "../../contract/transport-node.ts";
import { directions } from "../../integration/fault-proxy.ts";
import { Stream } from "../../sim/random.ts";
import { encodeFrame, type Forgery, RawNode } from "./raw-node.ts";
import { createTcpHarness, identityOf, quietLogger, settle, type TcpHarness } from "./tcp-world.ts";

const warnings: LogFields[] = [];
const lineLogger: Logger = {
  ...quietLogger,
  warn: (_text, fields) => warnings.push(fields ?? {}),
};

let harness: TcpHarness;
const nodes: ClusterNode[] = [];
const raws: RawNode[] = [];

beforeEach(async () => {
  harness = await createTcpHarness(lineLogger);
});

afterEach(async () => {
  for (const raw of raws.splice(0)) raw.end();
  for (const node of nodes.splice(0)) await node.close();
  await harness.end();
  warnings.length = 0;
});

async function startNode(nodeId: string, ...peers: string[]): Promise<ClusterNode> {
  const names = { nodeId, storeId: nodeId.charCodeAt(0), clusterId: clusterIds.one };
  const node = new ClusterNode(names, harness.create(names));
  nodes.push(node);
  node.transport.setPeers(peers.map((peer) => harness.address(peer, nodeId)));
  await node.start();
  return node;
}

/** a and b, connected; what b itself dials anew reaches nobody, so that a raw node can be b. */
async function startPair(): Promise<readonly [ClusterNode, ClusterNode]> {
  const pair = [await startNode("a", "b"), await startNode("b", "a")] as const;
  await settle(() => pair[0].sees(pair[1]) && pair[1].sees(pair[0]));
  harness.way("b", "a").isClosedToAll = true;
  return pair;
}

function dial(from?: string): RawNode {
  const raw = new RawNode(harness.port("a"), from);
  raws.push(raw);
  return raw;
}

/** A raw node that a takes for b. */
async function dialAsB(): Promise<RawNode> {
  const raw = dial();
  raw.greet({ identity: b });
  await settle(() => raw.isWelcome);
  return raw;
}

const b = identityOf({ nodeId: "b", storeId: "b".charCodeAt(0), clusterId: clusterIds.one });

async function servesAnother(a: ClusterNode): Promise<void> {
  a.transport.setPeers([harness.address("b", "a"), harness.address("c", "a")]);
  const c = await startNode("c", "a");
  await settle(() => a.sees(c) && c.sees(a));
  const before = a.frames.length;
  assert.ok(c.send(a, "control", 1, 2, "well"));
  await settle(() => a.frames.length > before);
}

test("5.3-02 who says nothing, or too little, is out after a second", async () => {
  const a = await startNode("a", "b");
  const [silent, slow] = [dial(), dial()];
  const fromMs = performance.now();
  await settle(() => slow.isConnected);
  slow.send(Buffer.from([0xff, 0xff, 0xff]));
  await settle(() => silent.isClosed && slow.isClosed);
  const tookMs = performance.now() - fromMs;
  assert.ok(tookMs >= limits.handshakeMs - 1, `out after ${tookMs} ms`);
  assert.ok(tookMs < 5 * limits.handshakeMs, `out after ${tookMs} ms`);
  await servesAnother(a);
});

test("5.3-02 frames of no group end the connection at once", async () => {
  const a = await startNode("a", "b");
  for (const group of [256, 0xffff_ffff]) {
    const raw = dial();
    const head = Buffer.alloc(4);
    head.writeUInt32BE(group);
    const fromMs = performance.now();
    raw.send(head);
    await settle(() => raw.isClosed);
    assert.ok(performance.now() - fromMs < limits.handshakeMs);
  }
  assert.deepEqual(a.refusals, ["magic"]);
});

test("5.3-03 each refusal has its reason, told once a minute", async () => {
  const [a, peer] = await startPair();
  const other = { ...b, nodeId: "b", storeId: toStoreId(4242) };
  const refused: readonly (readonly [RefusalReason, number, Forgery])[] = [
    ["secret", 2, { identity: b, secret: "another secret, quite as long as it" }],
    ["cluster", 3, { identity: { ...b, clusterId: clusterIds.two } }],
    ["unlisted", 4, { identity: { ...b, nodeId: "removed" } }],
    ["self", 5, { identity: { ...b, storeId: a.storeId } }],
    ["self", 5, { identity: { ...b, nodeId: "a" } }],
    ["node", 6, { identity: b, wanted: "c" }],
    ["duplicate", 7, { identity: other }],
  ];
  for (const [reason, number, forgery] of [...refused, ...refused]) {
    const raw = dial();
    raw.greet(forgery);
    await settle(() => raw.isClosed);
    assert.equal(raw.refusal, number, reason);
    assert.equal(raw.isWelcome, false);
  }
  const reasons = ["secret", "cluster", "unlisted", "self", "node", "duplicate"];
  assert.deepEqual(a.refusals, reasons);
  assert.deepEqual(
    warnings.map((fields) => fields["reason"]),
    reasons,
  );
  assert.equal(warnings[0]?.["address"], "127.0.0.1");
  assert.ok(a.sees(peer) && peer.sees(a));
});

test("5.3-03 another magic gets no answer, another version is told so", async () => {
  const a = await startNode("a", "b");
  const hello = (start: Buffer, version: number) =>
    encodeFrame(nodeGroup, ownTypes.hello, Buffer.concat([start, Buffer.of(0, version, 0)]));
  const talks: readonly (readonly [RefusalReason, number | undefined, Buffer])[] = [
    ["magic", undefined, hello(Buffer.from("QuorumK\n"), 1)],
    ["magic", undefined, encodeFrame(nodeGroup, ownTypes.introduction, Buffer.alloc(200))],
    ["magic", undefined, encodeFrame(0, 1, Buffer.from("an append"))],
    ["magic", undefined, Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")],
    ["magic", undefined, Buffer.from("16030100f1010000ed0303", "hex")],
    ["version", 1, hello(magic, 2)],
  ];
  for (const [reason, number, bytes] of talks) {
    const raw = dial();
    raw.send(bytes);
    await settle(() => raw.isClosed);
    assert.equal(raw.refusal, number, reason);
  }
  assert.deepEqual(a.refusals, ["magic", "version"]);
});

test("5.3-04 a proven node that sends a broken frame is cut off", async () => {
  const [a, peer] = await startPair();
  const good = encodeFrame(3, 1, Buffer.from("good"));
  const broken = encodeFrame(3, 1, Buffer.from("broken"));
  broken[15] = 0;
  const lengthOf = (length: number) => {
    const bytes = Buffer.from(good);
    bytes.writeUInt32BE(length, 4);
    return bytes;
  };
  const frames: readonly Buffer[] = [
    lengthOf(0),
    lengthOf(0xffff_ffff),
    lengthOf(limits.frameBytes + 1),
    broken,
    encodeFrame(3, 240, Buffer.from("a type of nobody")),
    encodeFrame(nodeGroup, 255, Buffer.from("a type of nobody")),
    encodeFrame(nodeGroup, ownTypes.hello, Buffer.alloc(43)),
  ];
  for (const bytes of frames) {
    const raw = await dialAsB();
    const before = a.frames.length;
    raw.send(Buffer.concat([good, bytes, good]));
    await settle(() => raw.isClosed);
    assert.equal(a.frames.length, before + 1);
  }
  assert.deepEqual(a.refusals, ["protocol"]);
  assert.ok(a.sees(peer), "the other channels stand");
});

test("5.3-04 a length and then silence takes no memory", async () => {
  await startPair();
  const raw = await dialAsB();
  const head = Buffer.from(encodeFrame(3, 1, Buffer.alloc(10)).subarray(0, 13));
  head.writeUInt32BE(limits.frameBytes, 4);
  const before = process.memoryUsage().arrayBuffers;
  raw.send(head);
  raw.send(encodeFrame(3, 1, Buffer.alloc(0)));
  await settle(() => raw.socket.bytesWritten === Buffer.concat(raw.sent).length);
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 1 * MiB, `${grown} bytes`);
});

test("5.3-04 of one address two strangers are kept, of all 64; the oldest makes room", async () => {
  const a = await startNode("a", "b");
  const open = () => raws.filter((raw) => raw.isConnected && !raw.isClosed).length;
  const fromMs = performance.now();
  const first = Array.from({ length: 5 }, () => dial());
  await settle(() => first.every((raw) => raw.isConnected) && open() === 2);
  assert.ok(performance.now() - fromMs < limits.handshakeMs, "their time is not up");
  for (let i = 0; i < 40; i++) for (let j = 0; j < 2; j++) dial(`127.0.1.${i + 1}`);
  await settle(() => raws.every((raw) => raw.isConnected) && open() <= limits.strangers);
  const isTimeUp = performance.now() - fromMs >= limits.handshakeMs;
  assert.ok(isTimeUp || open() === limits.strangers, `${open()} are open`);
  await servesAnother(a);
});

test("5.3-05 frames of a node that is no member any more are dropped", async () => {
  const [a, peer] = await startPair();
  for (let i = 0; i < 20; i++) assert.ok(peer.send(a, "append", 0, 1, "late"));
  a.transport.setPeers([]);
  await settle(() => !peer.sees(a));
  assert.equal(a.frames.length, 0);
  const raw = dial();
  raw.greet({ identity: b });
  await settle(() => raw.isClosed);
  assert.deepEqual(a.refusals, ["unlisted"]);
});

test("a node that dials control anew was lost, whatever its old connections look like", async () => {
  const [a, peer] = await startPair();
  // nothing of the old ones comes through any more
  for (const way of [harness.way("a", "b"), harness.way("b", "a")]) way.silence(...directions);
  const raw = dial();
  raw.greet({ identity: b, channel: "control" });
  await settle(() => raw.isWelcome);
  assert.deepEqual(a.events, ["connected b", `disconnected ${peer.storeId} reset`]);
});

test("5.3-04 a proven node that is not connected yet is read no further than a bound", async () => {
  // b cannot be dialled
  const a = await startNode("a", "b");
  const raw = await dialAsB();
  const frame = encodeFrame(3, 1, Buffer.alloc(100_000));
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 400; i++) raw.socket.write(frame);
  let waits = 0;
  // the line stands still, with most of it unread
  for (let last = -1; waits < 50; last = raw.socket.bytesWritten - raw.socket.writableLength) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    waits = last === raw.socket.bytesWritten - raw.socket.writableLength ? waits + 1 : 0;
  }
  assert.ok(raw.socket.writableLength > 10 * MiB, `${raw.socket.writableLength} bytes wait`);
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 4 * MiB, `${grown} bytes were taken`);
  assert.equal(a.frames.length, 0);
});

test("5.3-10 yesterday's talk is worth nothing today", async () => {
  const [a] = await startPair();
  const recorded = await dialAsB();
  recorded.send(encodeFrame(3, 1, Buffer.from("once")));
  await settle(() => a.frames.length === 1);
  recorded.end();
  const replay = dial();
  replay.send(Buffer.concat(recorded.sent));
  await settle(() => replay.isClosed);
  assert.equal(replay.isWelcome, false);
  assert.equal(a.frames.length, 1);
  assert.deepEqual(a.refusals, ["secret"]);
});

test("5.3-11 thousands of broken talks with a listening node do no harm", async () => {
  const [a, peer] = await startPair();
  const random = new Stream(Number(process.env["SEED"] ?? 7), "talks");
  const model = await dialAsB();
  const talk = Buffer.concat([...model.sent, encodeFrame(3, 1, Buffer.alloc(500))]);
  model.end();
  for (let i = 0; i < 2_000; i++) {
    const raw = new RawNode(harness.port("a"));
    raw.send(mutated(talk, random));
    raw.socket.end();
    await settle(() => raw.isClosed);
    assert.equal(raw.isWelcome, false);
  }
  for (let i = 0; i < 300; i++) {
    const raw = new RawNode(harness.port("a"));
    raw.greet({ identity: b });
    await settle(() => raw.isWelcome);
    raw.send(mutated(encodeFrame(3, 1, Buffer.alloc(random.between(0, 900))), random));
    raw.socket.end();
    await settle(() => raw.isClosed);
  }
  assert.ok(a.sees(peer) && peer.sees(a));
  await servesAnother(a);
});

function mutated(bytes: Buffer, random: Stream): Buffer {
  const copy = Buffer.from(bytes);
  for (let i = random.between(1, 3); i > 0; i--) {
    copy[random.between(0, copy.length - 1)] = random.between(0, 255);
  }
  return random.chance(0.3) ? copy.subarray(0, random.between(1, copy.length)) : copy;
}
