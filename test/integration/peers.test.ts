/**
 * The peers of `bench:peers`, those that are installed: a short run of each way loses nothing, and
 * leaves neither processes nor files. Rates are not looked at. Clusters belong to the long form.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { before, describe, type TestContext, test } from "node:test";
import { buildLoad } from "../../bench/load-build.ts";
import { bullmq } from "../../bench/peers/bullmq.ts";
import { nats } from "../../bench/peers/nats.ts";
import { type Peer, PeerMissingError } from "../../bench/peers/peer.ts";
import { rabbitmq } from "../../bench/peers/rabbitmq.ts";
import { makeDirectory } from "./process.ts";

const period = { warmupMs: 500, measureMs: 2_000 };
const forms = process.env["QUORUMQ_ITEST"] === "all" ? [1, 3] : [1];
const isAboutTheMoment = /not a fair moment|the machine stood still/;

describe("bench:peers", () => {
  before(() => buildLoad());

  for (const peer of [nats, rabbitmq, bullmq]) {
    for (const nodes of forms) {
      test(`${peer.name}, nodes: ${nodes}`, (t) => measureShortly(t, peer, nodes));
    }
  }
});

async function measureShortly(t: TestContext, peer: Peer, nodes: number): Promise<void> {
  try {
    assert.match(peer.version(), /\d+\.\d+\.\d+/);
  } catch (error) {
    if (error instanceof PeerMissingError) return t.skip(error.message);
    throw error;
  }
  const directory = makeDirectory();
  t.after(() => directory.remove());
  const rivals = peer.rivals({ folder: directory.path, nodes, period });
  if (rivals.length === 0) return t.skip("has no such form");
  // the ways differ in what the client does, not in how many nodes are there
  for (const { measure, durability } of nodes === 1 ? rivals : rivals.slice(0, 1)) {
    const measurement = await measure();
    const problems = measurement.problems.filter((text) => !isAboutTheMoment.test(text));
    assert.deepEqual(problems, [], measurement.label);
    assert.ok((measurement.throughput?.endToEnd.count ?? 0) > 0, measurement.label);
    assert.equal(measurement.durability, durability);
    assert.deepEqual(readdirSync(directory.path), [], "its directory is gone");
    assert.deepEqual(processesIn(directory.path), [], "its processes are gone");
  }
}

/** Command lines of those that were started with the folder's name, or work in it. */
function processesIn(folder: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
        const isThere = `${line} ${readlinkSync(`/proc/${pid}/cwd`)}`.includes(folder);
        return isThere ? [line] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });
}
