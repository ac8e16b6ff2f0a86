/**
 * What every Transport must do, over sockets or in virtual time. A harness makes nodes that can
 * reach each other, and takes the one thing from a network that all can take: it goes silent.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { InvariantError } from "../../src/base/assert.ts";
import {
  channels,
  frameBodyBytesMax,
  frameTypeMax,
  nodeGroup,
  waitingBytesMax,
} from "../../src/transport/transport.ts";
import { ClusterNode, clusterIds, type TransportHarness, type World } from "./transport-node.ts";
import { changes, refuses } from "./transport-peers.ts";

export function runTransportSuite(
  name: string,
  createHarness: () => TransportHarness | Promise<TransportHarness>,
): void {
  describe(`Transport contract: ${name}`, () => {
    let harness: TransportHarness | null = null;
    const nodes: ClusterNode[] = [];

    beforeEach(async () => {
      harness = await createHarness();
    });

    afterEach(async () => {
      for (const node of nodes.splice(0)) await node.close();
      await harness?.end();
      harness = null;
    });

    const world: World = {
      get harness() {
        assert.ok(harness !== null);
        return harness;
      },
      node(nodeId, storeId = 1000 + nodeId.charCodeAt(0), clusterId = clusterIds.one) {
        const names = { nodeId, storeId, clusterId };
        const node = new ClusterNode(names, world.harness.create(names));
        nodes.push(node);
        return node;
      },
      async start(...started) {
        for (const node of started) {
          const others = started.filter((other) => other !== node);
          node.transport.setPeers(others.map((o) => world.harness.address(o.nodeId, node.nodeId)));
          await node.start();
        }
      },
      async pair() {
        const [a, b] = [world.node("a"), world.node("b")];
        await world.start(a, b);
        await world.harness.settle(() => a.sees(b) && b.sees(a));
        return [a, b];
      },
    };
    connects(world);
    carries(world);
    bounds(world);
    loses(world);
    refuses(world);
    changes(world);
  });
}

function connects(world: World): void {
  it("connects every pair, once on each side, and says who is there", async () => {
    const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
    await world.start(a, b, c);
    await world.harness.settle(() => [b, c].every((o) => a.sees(o) && o.sees(a)) && b.sees(c));
    await world.harness.settle(() => c.sees(b));
    assert.deepEqual([...a.events].sort(), ["connected b", "connected c"]);
    assert.deepEqual([...b.events].sort(), ["connected a", "connected c"]);
    const seen = a.peers.find((peer) => peer.nodeId === "b");
    assert.equal(seen?.storeId, b.storeId);
    assert.equal(seen?.clusterId, clusterIds.one);
    const told = a.transport.peers().find((peer) => peer.nodeId === "b");
    assert.equal(told?.connected, true);
    assert.deepEqual({ ...told, connected: 0, lastContactMs: 0 }, { ...seen, ...zeros });
  });

  it("connects with a node that starts later", async () => {
    const [a, b] = [world.node("a"), world.node("b")];
    await world.start(a);
    a.transport.setPeers([world.harness.address("b", "a")]);
    assert.deepEqual(a.transport.peers(), []);
    b.transport.setPeers([world.harness.address("a", "b")]);
    await b.start();
    await world.harness.settle(() => a.sees(b) && b.sees(a));
  });

  it("moves the time of the last contact with each frame", async () => {
    const [a, b] = await world.pair();
    b.send(a, "control", 0, 1, "first");
    await world.harness.settle(() => a.frames.length === 1);
    const before = a.transport.peers()[0]?.lastContactMs ?? 0;
    assert.ok(before > 0);
    await world.harness.settle(() => {
      b.send(a, "control", 0, 1, "again");
      return (a.transport.peers()[0]?.lastContactMs ?? 0) > before;
    });
  });
}

const zeros = { connected: 0, lastContactMs: 0 };

function carries(world: World): void {
  it("brings a frame whole: sender, channel, group, type, and the parts as one body", async () => {
    const [a, b] = await world.pair();
    const parts = [Buffer.from("one"), Buffer.alloc(0), Buffer.alloc(100_000, 7)];
    for (const channel of channels) {
      assert.equal(a.transport.send(b.storeId, channel, 255, frameTypeMax, parts), true);
      assert.equal(a.transport.send(b.storeId, channel, nodeGroup, 0, []), true);
    }
    await world.harness.settle(() => b.frames.length === 6);
    for (const channel of channels) {
      const [full, empty] = b.frames.filter((frame) => frame.channel === channel);
      assert.equal(full?.from, a.storeId);
      assert.equal(full?.group, 255);
      assert.equal(full?.type, frameTypeMax);
      assert.ok(full?.body.equals(Buffer.concat(parts)));
      assert.equal(empty?.group, nodeGroup);
      assert.equal(empty?.type, 0);
      assert.equal(empty?.body.length, 0);
    }
  });

  it("keeps the order within a channel, and leaves bodies alone that it gave out", async () => {
    const [a, b] = await world.pair();
    const count = 1000;
    for (let i = 0; i < count; i++) {
      const size = i % 100 === 0 ? 5_000 : i % 7;
      for (const channel of ["control", "append"] as const) {
        assert.ok(a.send(b, channel, i % 256, i % 200, `${i} ${"x".repeat(size)}`));
      }
    }
    await world.harness.settle(() => b.frames.length === 2 * count);
    for (const channel of ["control", "append"]) {
      const texts = b.frames.filter((f) => f.channel === channel).map((f) => f.body.toString());
      assert.deepEqual(
        texts.map((text) => Number.parseInt(text, 10)),
        Array.from({ length: count }, (_, i) => i),
      );
      assert.equal(texts[100]?.length, 5_004);
    }
  });

  it("carries both ways at once", async () => {
    const [a, b] = await world.pair();
    for (let i = 0; i < 200; i++) {
      assert.ok(a.send(b, "append", 0, 1, `a${i}`));
      assert.ok(b.send(a, "append", 0, 1, `b${i}`));
    }
    await world.harness.settle(() => a.frames.length === 200 && b.frames.length === 200);
    assert.equal(a.frames.at(-1)?.body.toString(), "b199");
    assert.equal(b.frames.at(-1)?.body.toString(), "a199");
  });

  it("carries the largest frame, and none larger", async () => {
    const [a, b] = await world.pair();
    const body = Buffer.alloc(frameBodyBytesMax, 3);
    body.writeUInt32BE(0xdeadbeef, body.length - 4);
    assert.throws(
      () => a.transport.send(b.storeId, "bulk", 0, 1, [body, Buffer.of(1)]),
      InvariantError,
    );
    assert.equal(a.transport.send(b.storeId, "bulk", 0, 1, [body]), true);
    await world.harness.settle(() => b.frames.length === 1);
    assert.ok(b.frames[0]?.body.equals(body));
  });
}

function bounds(world: World): void {
  for (const channel of channels) {
    it(`takes no more than its bound on the ${channel} channel, and sends all it took`, async () => {
      const [a, b] = await world.pair();
      const body = Buffer.alloc(100_000, 1);
      let taken = 0;
      while (a.transport.send(b.storeId, channel, 0, 1, [body])) taken++;
      const bound = waitingBytesMax[channel];
      assert.ok(taken * body.length <= bound, `${taken} frames`);
      assert.ok(taken * body.length >= bound - 2 * body.length, `${taken} frames`);
      const waiting = a.transport.waitingBytes(b.storeId, channel);
      assert.ok(waiting >= taken * body.length && waiting <= bound, `${waiting} bytes wait`);
      await world.harness.settle(() => b.frames.length === taken);
      await world.harness.settle(() => a.transport.waitingBytes(b.storeId, channel) === 0);
      assert.equal(a.transport.send(b.storeId, channel, 0, 1, [body]), true);
    });
  }

  it("calls back once when few enough bytes wait, and never at once", async () => {
    const [a, b] = await world.pair();
    const calls: string[] = [];
    a.transport.whenBelow(b.storeId, "bulk", 0, () => calls.push("idle"));
    assert.equal(calls.length, 0);
    await world.harness.settle(() => calls.length === 1);
    while (a.send(b, "bulk", 0, 1, "x".repeat(50_000)));
    const half = waitingBytesMax.bulk / 2;
    let waited = -1;
    a.transport.whenBelow(b.storeId, "bulk", half, () => {
      waited = a.transport.waitingBytes(b.storeId, "bulk");
      calls.push("half");
    });
    a.transport.whenBelow(b.storeId, "bulk", 0, () => calls.push("none"));
    assert.equal(calls.length, 1);
    await world.harness.settle(() => calls.length === 3);
    assert.deepEqual(calls, ["idle", "half", "none"]);
    assert.ok(waited >= 0 && waited <= half, `${waited} bytes wait`);
  });

  it("says of a stranger that it is not connected", async () => {
    const [a] = await world.pair();
    const nobody = world.node("z");
    assert.equal(a.send(nobody, "control", 0, 1, "x"), false);
    assert.equal(a.transport.waitingBytes(nobody.storeId, "control"), 0);
    let isCalled = false;
    a.transport.whenBelow(nobody.storeId, "control", 0, () => {
      isCalled = true;
    });
    assert.equal(isCalled, false);
    await world.harness.settle(() => isCalled);
  });
}

function loses(world: World): void {
  it("tells at once, as a reset, that a node ended; what waited for it is dropped", async () => {
    const [a, b] = await world.pair();
    let isCalled = false;
    while (a.send(b, "bulk", 0, 1, "x".repeat(100_000)));
    a.transport.whenBelow(b.storeId, "bulk", 0, () => {
      isCalled = true;
    });
    await b.close();
    await world.harness.settle(() => !a.sees(b) && isCalled);
    assert.deepEqual(a.events, ["connected b", `disconnected ${b.storeId} reset`]);
    for (const channel of channels) {
      assert.equal(a.send(b, channel, 0, 1, "x"), false);
      assert.equal(a.transport.waitingBytes(b.storeId, channel), 0);
    }
    assert.equal(a.transport.peers()[0]?.connected, false);
  });

  it("connects again with a node that was started anew", async () => {
    const [a, b] = await world.pair();
    await b.close();
    await world.harness.settle(() => !a.sees(b));
    const again = world.node("b");
    again.transport.setPeers([world.harness.address("a", "b")]);
    await again.start();
    await world.harness.settle(() => a.sees(again) && again.sees(a));
    assert.ok(a.send(again, "append", 1, 2, "hello"));
    await world.harness.settle(() => again.frames.length === 1);
    assert.equal(a.transport.peers().length, 1);
  });

  it("takes silence for an end, but not for a reset, and connects again after it", async () => {
    const [a, b] = await world.pair();
    world.harness.silence("a", "b");
    world.harness.silence("b", "a");
    await world.harness.settle(() => !a.sees(b) && !b.sees(a));
    assert.equal(a.events[1], `disconnected ${b.storeId} silent`);
    assert.equal(b.events[1], `disconnected ${a.storeId} silent`);
    world.harness.heal();
    await world.harness.settle(() => a.sees(b) && b.sees(a));
    assert.ok(b.send(a, "control", 0, 1, "back"));
    await world.harness.settle(() => a.frames.length === 1);
  });

  it("notices on both sides when only one direction is silent", async () => {
    const [a, b] = await world.pair();
    world.harness.silence("a", "b");
    await world.harness.settle(() => !a.sees(b) && !b.sees(a));
    world.harness.heal();
    await world.harness.settle(() => a.sees(b) && b.sees(a));
  });

  it("calls nobody back and sends nothing once it is closed", async () => {
    const [a, b] = await world.pair();
    await a.close();
    await world.harness.settle(() => !b.sees(a));
    assert.deepEqual(a.events, ["connected b"]);
    assert.equal(a.send(b, "control", 0, 1, "x"), false);
  });

  it("sends what waited before it closes", async () => {
    const [a, b] = await world.pair();
    for (let i = 0; i < 50; i++) assert.ok(a.send(b, "control", 0, 1, `${i}`));
    await a.close();
    await world.harness.settle(() => !b.sees(a));
    assert.equal(b.frames.length, 50);
  });
}
