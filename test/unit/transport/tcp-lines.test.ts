/** Two nodes over lines that delay, throttle, break bytes and break off. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { NodeIdentity } from "../../../src/transport/transport.ts";
import { ClusterNode, clusterIds } from "../../contract/transport-node.ts";
import { directions } from "../../integration/fault-proxy.ts";
import { createTcpHarness, settle, silenceMs, type TcpHarness } from "./tcp-world.ts";

/** Says hello to every peer as soon as it is connected. */
class EagerNode extends ClusterNode {
  override connected(peer: NodeIdentity): void {
    super.connected(peer);
    const parts = [Buffer.from("hello")];
    assert.ok(this.transport.send(peer.storeId, "append", 0, 1, parts));
  }
}

let harness: TcpHarness;
const nodes: ClusterNode[] = [];

beforeEach(async () => {
  harness = await createTcpHarness();
});

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.close();
  await harness.end();
});

async function start(
  nodeId: string,
  peers: readonly string[],
  Kind: typeof ClusterNode = ClusterNode,
): Promise<ClusterNode> {
  const names = { nodeId, storeId: nodeId.charCodeAt(0), clusterId: clusterIds.one };
  const node = new Kind(names, harness.create(names));
  nodes.push(node);
  node.transport.setPeers(peers.map((peer) => harness.address(peer, nodeId)));
  await node.start();
  return node;
}

async function startPair(): Promise<readonly [ClusterNode, ClusterNode]> {
  const pair = [await start("a", ["b"]), await start("b", ["a"])] as const;
  await settle(() => pair[0].sees(pair[1]) && pair[1].sees(pair[0]));
  return pair;
}

const events = (node: ClusterNode): string[] =>
  node.events.map((event) => event.split(" ")[0] ?? "");

test("what is sent as soon as a peer is connected waits until the peer is too", async () => {
  // a dials slowly: b is connected long before a is
  harness.way("a", "b").setLine({ delayMs: 20 }, ...directions);
  const [a, b] = [await start("a", ["b"], EagerNode), await start("b", ["a"], EagerNode)];
  await settle(() => a.sees(b) && b.sees(a));
  await settle(() => a.frames.length === 1 && b.frames.length === 1);
});

test("a slow line is no silence: what is long arrives, and nothing is cut", async () => {
  const [a, b] = await startPair();
  // 10 MB a second: pings and their answers take the three seconds of what waits before them
  harness.way("a", "b").setLine({ bitsPerSecond: 80_000_000 }, "target");
  const count = 120;
  for (let i = 0; i < count; i++) assert.ok(a.send(b, "append", 1, 1, "x".repeat(250_000)));
  await settle(() => b.frames.length === count);
  assert.deepEqual([...a.events, ...b.events], ["connected b", "connected a"]);
});

test("delay and jitter change neither order nor content", async () => {
  const [a, b] = await startPair();
  harness.way("a", "b").setLine({ delayMs: 10, jitterMs: 20 }, ...directions);
  for (let i = 0; i < 200; i++) {
    assert.ok(a.send(b, "append", 1, 1, `${i} ${"x".repeat((i * 97) % 5_000)}`));
    if (i % 10 === 0) await settle(() => a.transport.waitingBytes(b.storeId, "append") === 0);
  }
  await settle(() => b.frames.length === 200);
  b.frames.forEach(({ body }, i) => {
    assert.equal(body.toString(), `${i} ${"x".repeat((i * 97) % 5_000)}`);
  });
});

test("a broken byte costs its connection and what was on it, and no frame comes broken", async () => {
  const [a, b] = await startPair();
  harness.way("a", "b").corrupt("target", 5_000);
  for (let i = 0; i < 20; i++) a.send(b, "append", 1, 1, `${i} ${"y".repeat(1_000)}`);
  await settle(() => b.refusals.includes("protocol"));
  await settle(() => {
    a.send(b, "append", 1, 1, "later");
    return b.frames.at(-1)?.body.toString() === "later";
  });
  const whole = b.frames.filter(({ body }) => body.toString() !== "later");
  assert.ok(whole.length < 20);
  whole.forEach(({ body }, i) => {
    assert.equal(body.toString(), `${i} ${"y".repeat(1_000)}`);
  });
});

test("a reset in the middle of a frame gives no half frame, and is told at once", async () => {
  const [a, b] = await startPair();
  harness.way("a", "b").resetAfter("target", 50_000);
  assert.ok(a.send(b, "control", 1, 1, "z".repeat(100_000)));
  await settle(() => events(a).length >= 2 && events(b).length >= 2);
  assert.equal(a.events[1], `disconnected ${b.storeId} reset`);
  assert.equal(b.events[1], `disconnected ${a.storeId} reset`);
  await settle(() => a.sees(b) && b.sees(a));
  assert.ok(a.send(b, "control", 1, 1, "whole"));
  await settle(() => b.frames.length > 0);
  assert.deepEqual(
    b.frames.map(({ body }) => body.toString()),
    ["whole"],
  );
});

test("a process that stood still blames nobody for the silence", async () => {
  const [a, b] = await startPair();
  for (let i = 0; i < 3; i++) {
    const untilMs = performance.now() + 3 * silenceMs;
    while (performance.now() < untilMs);
    const before = b.frames.length;
    assert.ok(a.send(b, "control", 1, 1, "after a stall"));
    await settle(() => b.frames.length > before);
  }
  assert.deepEqual([...a.events, ...b.events], ["connected b", "connected a"]);
});

for (const [broken, mute] of [
  ["a b", "b a"],
  ["b a", "a b"],
] as const) {
  test(`the end of one control connection is enough (${broken})`, async () => {
    const [a, b] = await startPair();
    const way = (name: string) => harness.way(name.slice(0, 1), name.slice(2));
    // the other three connections show nothing
    way(mute).silence(...directions);
    way(broken).isClosedToAll = true;
    way(broken).reset();
    await settle(() => !a.sees(b) && !b.sees(a));
    assert.equal(a.events[1], `disconnected ${b.storeId} reset`);
    assert.equal(b.events[1], `disconnected ${a.storeId} reset`);
  });
}

test("who waits for room hears when the peer is gone and there will be none", async () => {
  const [a, b] = await startPair();
  harness.silence("a", "b");
  while (a.send(b, "append", 1, 1, "x".repeat(250_000)));
  let isCalled = false;
  a.transport.whenBelow(b.storeId, "append", 0, () => {
    isCalled = true;
  });
  await settle(() => isCalled);
  assert.equal(a.sees(b), false);
});

test("nodes that lost each other find each other once, not twice", async () => {
  const [a, b] = await startPair();
  harness.way("a", "b").isClosedToAll = true;
  harness.way("a", "b").reset();
  await settle(() => !a.sees(b) && !b.sees(a));
  harness.heal();
  await settle(() => a.sees(b) && b.sees(a));
  assert.deepEqual(events(a), ["connected", "disconnected", "connected"]);
  assert.deepEqual(events(b), ["connected", "disconnected", "connected"]);
});
