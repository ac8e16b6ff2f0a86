/** R20 of the catalogue of process faults: a disk that is slow for a while. */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { Cluster } from "../cluster/cluster.ts";
import { Ledger } from "../cluster/ledger.ts";
import { SlowDisks } from "../cluster/slow-disk.ts";

const slowMs = 2_000;
const disks = SlowDisks.build();
let cluster: Cluster | null = null;

afterEach(() => cluster?.stop());

after(() => disks?.remove());

test("R20: what a slow disk gave away comes back when it is well, not before", async (t) => {
  if (!disks) return t.skip("no C compiler here");
  const world = await Cluster.start({ shards: 3, envOf: (id) => disks.env(id) });
  cluster = world;
  const ledger = new Ledger(world);
  ledger.start();
  const leads = async (id: string, count: number) =>
    world.until(`${id} leads ${count}`, async () => {
      const groups = await world.node(id).groups();
      return groups.filter((group) => group.isLeader).length === count ? true : null;
    });
  await Promise.all(["n1", "n2", "n3"].map((id) => leads(id, 1)));
  const slow = world.node("n2");
  disks.slow(slow, slowMs);
  await leads("n2", 0);
  // longer than it takes until a shard is handed to the node that should lead it
  for (let i = 0; i < 80; i++) {
    assert.ok((await slow.groups()).every((group) => !group.isLeader));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  disks.slow(slow, 0);
  await leads("n2", 1);
  await ledger.verify();
});
