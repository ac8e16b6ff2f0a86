/**
 * Frames that nobody should send, against a node that listens: from strangers, and from a proven
 * node that has gone mad. `FRAMES=1000000` sends that many; `SEED=n` chooses others.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { limits, MiB } from "../../src/base/limits.ts";
import { nodeGroup } from "../../src/transport/transport.ts";
import { ClusterNode, clusterIds } from "../contract/transport-node.ts";
import { Stream } from "../sim/random.ts";
import { encodeFrame, RawNode } from "../unit/transport/raw-node.ts";
import {
  createTcpHarness,
  identityOf,
  settle,
  type TcpHarness,
} from "../unit/transport/tcp-world.ts";

const isLong = process.env["QUORUMQ_ITEST"] === "all";
const wanted = Number(process.env["FRAMES"] ?? (isLong ? 1_000_000 : 50_000));
const seed = Number(process.env["SEED"] ?? 7);
const hangMs = 100;
const namesOfB = { nodeId: "b", storeId: 2, clusterId: clusterIds.one };

let harness: TcpHarness;
let a: ClusterNode;
let peer: ClusterNode;

before(async () => {
  harness = await createTcpHarness();
  const namesOfA = { nodeId: "a", storeId: 1, clusterId: clusterIds.one };
  a = new ClusterNode(namesOfA, harness.create(namesOfA));
  peer = new ClusterNode(namesOfB, harness.create(namesOfB));
  a.transport.setPeers([harness.address("b", "a")]);
  peer.transport.setPeers([harness.address("a", "b")]);
  await a.start();
  await peer.start();
  await settle(() => a.sees(peer) && peer.sees(a));
  // from now on the raw node is b for the append channel
  harness.way("b", "a").isClosedToAll = true;
});

after(async () => {
  await a.close();
  await peer.close();
  await harness.end();
});

/** Whole, for a group and of a type that there may be, and nonsense inside. */
function wholeFrame(random: Stream): Buffer {
  const body = Buffer.alloc(random.between(0, random.chance(0.01) ? 60_000 : 300));
  random.source.fill(body);
  return encodeFrame(
    random.chance(0.3) ? nodeGroup : random.between(0, 255),
    random.between(0, 239),
    body,
  );
}

function mutated(bytes: Buffer, random: Stream): Buffer {
  const copy = Buffer.from(bytes);
  const at = random.between(0, copy.length - 1);
  switch (random.between(0, 5)) {
    case 0:
      copy[at] = (copy[at] as number) ^ (1 << random.between(0, 7));
      return copy;
    case 1:
      return copy.subarray(0, at);
    case 2:
      random.source.fill(copy);
      return copy;
    case 3:
      copy.writeUInt32BE(random.between(0, 0xffff_ffff), 0);
      return copy;
    case 4:
      copy.writeUInt32BE(random.between(0, 2 * limits.frameBytes), 4);
      return copy;
    default:
      random.source.fill(copy.subarray(at, at + 4));
      return copy;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

async function closed(raw: RawNode): Promise<void> {
  while (!raw.isClosed) await turn();
}

let dials = 0;

/** From one address after the other: each has only so many ports. */
function dial(): RawNode {
  dials = (dials + 1) % 250;
  return new RawNode(harness.port("a"), `127.0.1.${dials + 1}`);
}

/** Who has not proven itself within a second is out: on a busy machine that may take a second try. */
async function dialAsB(): Promise<RawNode> {
  for (let tries = 3; ; tries--) {
    const raw = dial();
    raw.greet({ identity: identityOf(namesOfB) });
    while (!raw.isWelcome && !raw.isClosed) await turn();
    if (raw.isWelcome) return raw;
    assert.ok(raw.refusal === undefined && tries > 1, `a proven node is not taken: ${raw.refusal}`);
  }
}

/** b sends whole frames and then a broken one. @returns how many frames it sent */
async function proven(random: Stream): Promise<number> {
  const raw = await dialAsB();
  const frames = Array.from({ length: random.between(1, 20) }, () => wholeFrame(random));
  const before = a.frames.length;
  const bytes = Buffer.concat([...frames, mutated(wholeFrame(random), random)]);
  const cut = random.between(0, bytes.length);
  raw.socket.write(bytes.subarray(0, cut));
  if (random.chance(0.5)) await turn();
  raw.socket.end(bytes.subarray(cut));
  await closed(raw);
  assert.ok(a.frames.length >= before + frames.length, "what was whole is taken");
  a.frames.length = 0;
  return frames.length + 1;
}

/** Somebody who has recorded a talk sends it, broken. */
async function stranger(talk: readonly Buffer[], random: Stream): Promise<number> {
  const raw = dial();
  for (const bytes of talk) raw.socket.write(mutated(bytes, random));
  raw.socket.end();
  await closed(raw);
  assert.ok(!raw.isWelcome);
  return talk.length;
}

test(`5.3-11 ${wanted} frames to a listening node: it lives, never hangs, and does not grow (seed ${seed})`, async (t) => {
  const random = new Stream(seed, "listener");
  const model = new RawNode(harness.port("a"));
  model.greet({ identity: identityOf(namesOfB) });
  await settle(() => model.isWelcome);
  const talk = [...model.sent, wholeFrame(random)];
  model.end();
  let sent = 0;
  let longestMs = 0;
  let rssBefore = 0;
  const startMs = performance.now();
  while (sent < wanted) {
    // CPU time: on a busy machine the clock goes on while this process waits
    const cpu = process.cpuUsage();
    sent += random.chance(0.2) ? await stranger(talk, random) : await proven(random);
    const { user, system } = process.cpuUsage(cpu);
    longestMs = Math.max(longestMs, (user + system) / 1_000);
    if (rssBefore === 0 && sent > wanted / 4) rssBefore = process.memoryUsage().rss;
  }
  const seconds = Math.round((performance.now() - startMs) / 1_000);
  const grown = process.memoryUsage().rss - rssBefore;
  t.diagnostic(
    `${sent} frames in ${seconds} s, longest ${Math.round(longestMs)} ms, ${Math.round(grown / MiB)} MiB more`,
  );
  assert.ok(longestMs < hangMs, `${longestMs} ms for one talk`);
  assert.ok(grown < 64 * MiB, `${grown} bytes of memory more than after a quarter`);
  assert.ok(a.sees(peer) && peer.sees(a), "its peer was served all the time");
  const count = peer.frames.length;
  assert.ok(a.send(peer, "control", 1, 2, "well"));
  await settle(() => peer.frames.length > count);
});
