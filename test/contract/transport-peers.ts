/** The part of the transport's contract that says who speaks with whom. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { clusterIds, type World } from "./transport-node.ts";

export function refuses(world: World): void {
  it("keeps clusters apart", async () => {
    const [a, b] = [world.node("a"), world.node("b", 2, clusterIds.two)];
    await world.start(a, b);
    await world.harness.settle(() => [...a.refusals, ...b.refusals].includes("cluster"));
    assert.ok(!a.sees(b) && !b.sees(a));
  });

  it("lets an empty store speak with any cluster", async () => {
    const [a, b] = [world.node("a"), world.node("b", 2, "")];
    await world.start(a, b);
    await world.harness.settle(() => a.sees(b) && b.sees(a));
    assert.equal(a.transport.peers()[0]?.clusterId, "");
  });

  it("speaks with nobody who is not in its list", async () => {
    const [a, b] = [world.node("a"), world.node("b")];
    await a.start();
    b.transport.setPeers([world.harness.address("a", "b")]);
    await b.start();
    await world.harness.settle(() => [...a.refusals, ...b.refusals].includes("unlisted"));
    assert.ok(!a.sees(b) && !b.sees(a));
    a.transport.setPeers([world.harness.address("b", "a")]);
    await world.harness.settle(() => a.sees(b) && b.sees(a));
  });

  it("refuses another store under the id of a node that is connected, until that one is gone", async () => {
    const [a, b] = await world.pair();
    // what b's machine would run if its disk had been copied or emptied
    const other = world.node("b", 2222);
    other.transport.setPeers([world.harness.address("a", "b")]);
    await other.start();
    await world.harness.settle(() => [...a.refusals, ...other.refusals].includes("duplicate"));
    assert.ok(a.sees(b) && !a.sees(other) && !other.sees(a));
    await b.close();
    await world.harness.settle(() => a.sees(other) && other.sees(a));
    assert.deepEqual(a.events, ["connected b", `disconnected ${b.storeId} reset`, "connected b"]);
    assert.equal(a.transport.peers()[0]?.storeId, other.storeId);
    assert.equal(a.send(b, "control", 0, 1, "x"), false);
  });

  it("cuts off a peer on the word of the layer above; it may come back", async () => {
    const [a, b] = await world.pair();
    a.transport.reject(b.storeId, "a message of no kind");
    await world.harness.settle(() => a.count("connected b") === 2 && b.count("connected a") === 2);
    assert.ok(a.refusals.includes("protocol"));
    assert.deepEqual(a.events.slice(0, 2), ["connected b", `disconnected ${b.storeId} reset`]);
    assert.ok(b.send(a, "control", 0, 1, "sane again"));
    await world.harness.settle(() => a.frames.length === 1);
  });
}

export function changes(world: World): void {
  it("ends the connections with a node that left the list", async () => {
    const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
    await world.start(a, b, c);
    await world.harness.settle(() => a.sees(b) && a.sees(c) && b.sees(a));
    a.transport.setPeers([world.harness.address("c", "a")]);
    assert.equal(a.send(b, "control", 0, 1, "x"), false);
    await world.harness.settle(() => !a.sees(b) && !b.sees(a));
    assert.equal(a.count(`disconnected ${b.storeId} silent`), 1);
    assert.equal(a.count(`disconnected ${c.storeId}`), 0);
    assert.deepEqual(
      a.transport.peers().map((peer) => peer.nodeId),
      ["c"],
    );
    a.transport.setPeers([world.harness.address("b", "a"), world.harness.address("c", "a")]);
    await world.harness.settle(() => a.sees(b) && b.sees(a));
    assert.equal(a.count("connected c"), 1);
  });

  it("keeps its connections with a node that is to be found elsewhere now", async () => {
    const [a, b] = await world.pair();
    a.transport.setPeers([{ ...world.harness.address("b", "a"), raft: "127.0.0.1:1" }]);
    assert.ok(a.send(b, "control", 0, 1, "still there"));
    await world.harness.settle(() => b.frames.length === 1);
    await b.close();
    await world.harness.settle(() => !a.sees(b));
    const again = world.node("b");
    again.transport.setPeers([world.harness.address("a", "b")]);
    a.transport.setPeers([world.harness.address("b", "a")]);
    await again.start();
    await world.harness.settle(() => a.sees(again) && again.sees(a));
    assert.deepEqual(a.events.slice(0, 2), ["connected b", `disconnected ${b.storeId} reset`]);
  });

  it("tells its peers when it belongs to a cluster; connections go on", async () => {
    const [a, b] = [world.node("a", 1, ""), world.node("b", 2, "")];
    await world.start(a, b);
    await world.harness.settle(() => a.sees(b) && b.sees(a));
    a.transport.setClusterId(clusterIds.one);
    await world.harness.settle(() => b.transport.peers()[0]?.clusterId === clusterIds.one);
    b.transport.setClusterId(clusterIds.one);
    await world.harness.settle(() => a.transport.peers()[0]?.clusterId === clusterIds.one);
    assert.deepEqual(a.events, ["connected b"]);
    assert.deepEqual(b.events, ["connected a"]);
  });

  it("parts from a peer when they turn out to belong to two clusters", async () => {
    const [a, b] = [world.node("a", 1, ""), world.node("b", 2, clusterIds.two)];
    await world.start(a, b);
    await world.harness.settle(() => a.sees(b) && b.sees(a));
    a.transport.setClusterId(clusterIds.one);
    await world.harness.settle(() => !a.sees(b) && !b.sees(a));
    await world.harness.settle(() => [...a.refusals, ...b.refusals].includes("cluster"));
    assert.equal(a.count("connected b"), 1);
  });
}
