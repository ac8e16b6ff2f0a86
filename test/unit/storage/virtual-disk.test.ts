/** The simulated disk fails as the real one was seen to (FAULTS 3.4), and no other way. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Kv } from "../../../src/storage/kv.ts";
import { checkStoreLog } from "../../../src/storage/store-log.ts";
import { code, refusesAll } from "../../contract/kv-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { createSeededRandom } from "../../sim/seeded-random.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

const all = { gte: Buffer.alloc(0), lt: Buffer.alloc(8, 255), limit: 100_000 };

interface World {
  readonly disk: VirtualDisk;
  readonly pending: (() => void)[];
}

function createWorld(seed: number): World {
  const pending: (() => void)[] = [];
  const random = createSeededRandom(seed);
  const schedule = (callback: () => void): void => void pending.push(callback);
  return { disk: new VirtualDisk({ unit: () => random.unit(), schedule }), pending };
}

async function open({ disk }: World, createIfMissing = false): Promise<Kv> {
  const kv = await createMemoryKv(disk, "/db", { createIfMissing });
  createMemoryFiles(disk).syncDirectorySync("/");
  return kv;
}

/** Runs what the disk has to do, then gives the outcome. */
async function finish<T>({ pending }: World, outcome: Promise<T>): Promise<T> {
  while (pending.length > 0) pending.shift()?.();
  return outcome;
}

function begin(kv: Kv, keys: readonly string[]): Promise<void> {
  const batch = kv.batch();
  for (const key of keys) batch.put(Buffer.from(key), Buffer.from(`value of ${key}`));
  return batch.write();
}

async function putMany(world: World, kv: Kv, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    await finish(world, begin(kv, [String(i).padStart(4, "0")]));
  }
}

async function keys(world: World, kv: Kv): Promise<string[]> {
  return (await finish(world, kv.range(all))).map((row) => row.key.toString());
}

describe("virtual disk", () => {
  for (const kind of ["kill", "power"] as const) {
    it(`keeps what was acknowledged, and the batch in flight whole or not (${kind})`, async () => {
      const outcomes = new Set<string>();
      for (let seed = 0; seed < 40; seed++) {
        const world = createWorld(seed);
        const kv = await open(world, true);
        await finish(world, begin(kv, ["a", "b"]));
        let told = false;
        void begin(kv, ["c", "d"]).then(() => {
          told = true;
        });
        world.disk.crash(kind);
        await refusesAll(kv, "closed");
        const again = await open(world);
        outcomes.add((await keys(world, again)).join(""));
        assert.equal(told, false, "a dead process hears nothing");
      }
      assert.deepEqual([...outcomes].sort(), ["ab", "abcd"]);
    });
  }

  it("fails a sync: the handle is of no more use, the batch there or not after a restart", async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const world = createWorld(seed);
      const kv = await open(world, true);
      await finish(world, begin(kv, ["a"]));
      world.disk.failingSyncs = 1;
      const writing = begin(kv, ["b"]);
      await finish(world, assert.rejects(writing, code("io")));
      await refusesAll(kv, "io");
      world.disk.crash("kill");
      outcomes.add((await keys(world, await open(world))).join(""));
    }
    assert.deepEqual([...outcomes].sort(), ["a", "ab"]);
  });

  it("fails a write when it is full: the batch is gone and the handle of no more use", async () => {
    const world = createWorld(1);
    const kv = await open(world, true);
    await finish(world, begin(kv, ["a"]));
    world.disk.full = true;
    await finish(world, assert.rejects(begin(kv, ["b"]), code("io")));
    world.disk.full = false;
    await refusesAll(kv, "io");
    world.disk.crash("kill");
    assert.deepEqual(await keys(world, await open(world)), ["a"]);
  });

  it("rots in the log: batches are missing from the middle, and only LOG tells", async () => {
    let gaps = 0;
    for (let seed = 0; seed < 20; seed++) {
      const world = createWorld(seed);
      const kv = await open(world, true);
      await putMany(world, kv, 0, 40);
      await kv.close();
      checkStoreLog(createMemoryFiles(world.disk), "/db");
      assert.equal(world.disk.store("/db").rotLog(), true);
      const again = await open(world);
      const left = await keys(world, again);
      assert.ok(left.length < 40 && left.length >= 32);
      if (left.at(-1) === "0039") gaps++;
      assert.throws(() => checkStoreLog(createMemoryFiles(world.disk), "/db"), code("corrupt"));
    }
    assert.ok(gaps > 0, "some loss is in the middle");
  });

  it("rots in a table: no read gives a wrong value or a row that was never written", async () => {
    for (let seed = 0; seed < 200; seed++) {
      const world = createWorld(seed);
      const kv = await open(world, true);
      await putMany(world, kv, 0, 5);
      world.disk.store("/db").flush();
      assert.equal(world.disk.store("/db").rotTable(), true);
      const reading = kv.range(all);
      await finish(world, assert.rejects(reading, code("corrupt"), `seed ${seed}`));
    }
  });

  it("loses its tail without a trace: back to the last flush", async () => {
    const world = createWorld(1);
    const kv = await open(world, true);
    await putMany(world, kv, 0, 100);
    const { logBatches, tableRows } = world.disk.store("/db");
    assert.deepEqual([logBatches, tableRows], [36, 64]);
    await kv.close();
    assert.equal(world.disk.store("/db").loseTail(), true);
    const again = await open(world);
    assert.equal((await keys(world, again)).length, 64);
    checkStoreLog(createMemoryFiles(world.disk), "/db");
  });

  it("forgets names that were not synced when the power goes, by chance", () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const { disk } = createWorld(seed);
      const files = createMemoryFiles(disk);
      files.makeDirectorySync("/d");
      files.writeSync("/d/old", Buffer.from("x"));
      files.syncDirectorySync("/d");
      files.renameSync("/d/old", "/d/new");
      disk.crash("power");
      outcomes.add(files.listSync("/d").join());
    }
    assert.deepEqual([...outcomes].sort(), ["new", "old"]);
  });

  it("keeps names that were synced, and all names when only the process ends", () => {
    for (let seed = 0; seed < 20; seed++) {
      const { disk } = createWorld(seed);
      const files = createMemoryFiles(disk);
      files.makeDirectorySync("/d");
      files.writeSync("/d/a", Buffer.from("x"));
      disk.crash("kill");
      assert.deepEqual(files.listSync("/d"), ["a"]);
      files.syncDirectorySync("/d");
      disk.crash("power");
      assert.deepEqual(files.listSync("/d"), ["a"]);
    }
  });

  it("plays the same history from the same seed", async () => {
    const history = async (seed: number): Promise<string> => {
      const world = createWorld(seed);
      const lines: string[] = [];
      for (let round = 0; round < 12; round++) {
        const kv = await open(world, true);
        await putMany(world, kv, round * 10, round * 10 + 5);
        void begin(kv, [`in flight ${round}`]);
        world.disk.crash(round % 2 === 0 ? "kill" : "power");
        world.disk.store("/db").rotLog();
        lines.push((await keys(world, await open(world))).join());
        world.disk.crash("kill");
      }
      return lines.join("\n");
    };
    assert.equal(await history(3), await history(3));
    assert.notEqual(await history(3), await history(4));
  });
});
