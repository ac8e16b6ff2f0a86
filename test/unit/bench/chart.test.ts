import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { chartPath } from "../../../bench/chart/draw-latest.ts";
import { latestPeerResults } from "../../../bench/chart/latest.ts";
import { drawPeers, type PeerResults } from "../../../bench/chart/peers-chart.ts";
import { packageFolder, resultsFolder } from "../../../bench/paths.ts";

const machine = {
  cpu: "A CPU & more",
  cores: 2,
  memoryBytes: 8e9,
  kernel: "6.1",
  node: "v20.19.0",
  fsyncMs: 0.15,
  fsyncP99Ms: 1,
};

function standing(title: string, median: number | null, durability = "fsync before every ack") {
  return { name: title, title, durability, median, rounds: 3, ratio: null };
}

function results(more: Partial<PeerResults> = {}): PeerResults {
  const standings = [standing("QuorumQ", 200_000), standing("Other", 100_000, "no fsync")];
  const versions = ["other 1.2.3"];
  const date = "2026-11-01T00:00:00.000Z";
  return {
    scenario: "medians",
    nodes: 1,
    isQuick: false,
    versions,
    standings,
    date,
    machine,
    ...more,
  };
}

/** Width of each bar, from the paths of the marks. */
function barsOf(svg: string): number[] {
  const [, group = ""] = /role-mark"[^>]*rect mark container">(.*?)<\/g>/.exec(svg) ?? [];
  return [...group.matchAll(/d="M0,[\d.]+h([\d.]+)v/g)].map((match) => Number(match[1]));
}

describe("the chart of peers", () => {
  test("is the same for the same results", async () => {
    assert.equal(await drawPeers([results()]), await drawPeers([results()]));
  });

  test("has bars as long as the rates, in the order of the results", async () => {
    const [ours = 0, other = 0, ...more] = barsOf(await drawPeers([results()]));
    assert.deepEqual(more, []);
    assert.ok(Math.abs(ours / other - 2) < 0.001, `${ours} and ${other}`);
  });

  test("says rate and durability of each, the machine, the versions and the date", async () => {
    const svg = await drawPeers([results()]);
    for (const text of [
      ">QuorumQ<",
      ">200,000 · fsync before every ack<",
      ">100,000 · no fsync<",
      "2026-11-01, A CPU &amp; more, 2 cores, Linux 6.1, Node v20.19.0, fsync 0.15 ms",
      ">other 1.2.3<",
    ]) {
      assert.ok(svg.includes(text), text);
    }
  });

  test("leaves out who has no valid run, and names short runs as such", async () => {
    const standings = [standing("QuorumQ", 200_000), standing("Other", null)];
    const svg = await drawPeers([results({ standings, isQuick: true })]);
    assert.equal(barsOf(svg).length, 1);
    assert.ok(!svg.includes("Other"));
    assert.match(svg, /One node \(short runs\)/);
    assert.doesNotMatch(await drawPeers([results()]), /short runs/);
  });

  test("that is kept is that of the results that are kept, and the README shows it", async () => {
    const drawn = await drawPeers(latestPeerResults(resultsFolder));
    assert.equal(readFileSync(chartPath, "utf8"), drawn, "npm run bench:chart");
    const readme = readFileSync(new URL("README.md", packageFolder), "utf8");
    const images = [...readme.matchAll(/!\[[^\]]+\]\((\S+)\)/g)].map((match) => match[1] ?? "");
    assert.deepEqual(images, ["bench/results/peers.svg"]);
  });

  test("has a panel for each size of cluster", async () => {
    const svg = await drawPeers([results(), results({ nodes: 3 })]);
    assert.ok(svg.indexOf("One node") < svg.indexOf("A cluster of 3 on one machine"));
    assert.equal(svg.match(/>QuorumQ</g)?.length, 2);
  });
});

describe("the latest results of peers", () => {
  const folder = mkdtempSync(join(tmpdir(), "quorumq-chart-"));
  after(() => rmSync(folder, { recursive: true }));

  function keep(name: string, { date, machine: on, ...summary }: PeerResults): void {
    const file = { name, date, machine: on, measurements: [summary, { scenario: "cycle" }] };
    writeFileSync(join(folder, `${name}.json`), JSON.stringify(file));
  }

  test("are the newest of each size of cluster, full runs before short ones", () => {
    keep("a", results({ date: "2026-11-02" }));
    keep("b", results({ date: "2026-11-03" }));
    keep("c", results({ date: "2026-11-01" }));
    keep("d", results({ date: "2026-11-09", isQuick: true }));
    keep("e", results({ date: "2026-11-05", nodes: 3, isQuick: true }));
    keep("f", results({ date: "2026-11-06", nodes: 3, isQuick: true }));
    writeFileSync(
      join(folder, "other.json"),
      JSON.stringify({ date: "2026-12-01", machine, measurements: [{ scenario: "cycle" }] }),
    );
    assert.deepEqual(
      latestPeerResults(folder).map(({ nodes, date }) => [nodes, date]),
      [
        [1, "2026-11-03"],
        [3, "2026-11-06"],
      ],
    );
  });
});
