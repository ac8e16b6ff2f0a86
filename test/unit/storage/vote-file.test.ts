/** Term and vote survive every crash: what save has told of, or what it was about to write. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { InvariantError } from "../../../src/base/assert.ts";
import { toStoreId, toTerm } from "../../../src/base/brand.ts";
import { crc32c } from "../../../src/base/crc32c.ts";
import { createVoteFile, initVoteFile, type VoteFile } from "../../../src/storage/vote-file.ts";
import { code } from "../../contract/kv-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { createSeededRandom } from "../../sim/seeded-random.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

const slotBytes = 4096;

function createDisk(seed = 1): { disk: VirtualDisk; pending: (() => void)[] } {
  const pending: (() => void)[] = [];
  const random = createSeededRandom(seed);
  const schedule = (callback: () => void): void => void pending.push(callback);
  const disk = new VirtualDisk({ unit: () => random.unit(), schedule });
  const files = createMemoryFiles(disk);
  files.makeDirectorySync("/s");
  initVoteFile(files, "/s");
  files.syncDirectorySync("/s");
  return { disk, pending };
}

function open(disk: VirtualDisk): VoteFile {
  return createVoteFile(createMemoryFiles(disk), "/s");
}

function save(file: VoteFile, term: number, vote: number): Promise<void> {
  return file.save(toTerm(term), toStoreId(vote));
}

function saveSync(file: VoteFile, term: number, vote: number): void {
  file.saveSync(toTerm(term), toStoreId(vote));
}

async function completeAll(pending: (() => void)[]): Promise<void> {
  while (pending.length > 0) {
    pending.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("vote file", () => {
  it("starts at term 0 without a vote", () => {
    assert.deepEqual(open(createDisk().disk).load(), { term: 0, vote: 0 });
  });

  it("gives back what was saved, after a restart too", async () => {
    const { disk, pending } = createDisk();
    const file = open(disk);
    const saving = save(file, 3, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(file.load(), { term: 0, vote: 0 });
    await completeAll(pending);
    await saving;
    saveSync(file, 4, 0);
    saveSync(file, 4, 17);
    assert.deepEqual(file.load(), { term: 4, vote: 17 });
    disk.crash("power");
    assert.deepEqual(open(disk).load(), { term: 4, vote: 17 });
  });

  it("serves saves in order, and merges those that wait into one write", async () => {
    const { disk, pending } = createDisk();
    const file = open(disk);
    const told: number[] = [];
    const saves = [1, 2, 3, 4].map((term) => save(file, term, 9).then(() => told.push(term)));
    assert.equal(pending.length, 1);
    let writes = 0;
    while (pending.length > 0) {
      writes++;
      pending.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(saves);
    assert.deepEqual([told, writes, file.load()], [[1, 2, 3, 4], 2, { term: 4, vote: 9 }]);
  });

  it("takes a save that follows another at once, while a third waits", async () => {
    const { disk, pending } = createDisk();
    const file = open(disk);
    const first = save(file, 1, 9).then(() => save(file, 3, 9));
    const second = save(file, 2, 9);
    await completeAll(pending);
    await Promise.all([first, second]);
    assert.deepEqual(file.load(), { term: 3, vote: 9 });
  });

  it("never lets the term fall, nor a vote of a term change", () => {
    const file = open(createDisk().disk);
    saveSync(file, 5, 1);
    saveSync(file, 5, 1);
    assert.throws(() => saveSync(file, 4, 1), InvariantError);
    assert.throws(() => saveSync(file, 5, 2), InvariantError);
    assert.throws(() => saveSync(file, 5, 0), InvariantError);
    saveSync(file, 6, 2);
    assert.deepEqual(file.load(), { term: 6, vote: 2 });
  });

  it("takes nothing more after a failed save", async () => {
    const { disk, pending } = createDisk();
    const file = open(disk);
    const first = assert.rejects(save(file, 1, 1), code("io"));
    const waiting = assert.rejects(save(file, 2, 2), code("io"));
    disk.failingSyncs = 1;
    await completeAll(pending);
    await Promise.all([first, waiting]);
    await assert.rejects(save(file, 3, 3), code("io"));
  });

  it("holds the last vote or the one in flight after any crash, torn writes included", async () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 200; seed++) {
      const { disk, pending } = createDisk(seed);
      const file = open(disk);
      saveSync(file, 1, 11);
      const saved = save(file, 2, 12);
      await completeAll(pending);
      await saved;
      void save(file, 3, 13);
      disk.crash(seed % 2 === 0 ? "kill" : "power");
      const { term, vote } = open(disk).load();
      assert.ok(term === 2 || term === 3, `seed ${seed}: term ${term}`);
      assert.equal(vote, 10 + term);
      seen.add(term);
    }
    assert.deepEqual([...seen].sort(), [2, 3]);
  });

  it("survives one flipped bit anywhere without going back a vote", () => {
    for (let seed = 0; seed < 300; seed++) {
      const { disk } = createDisk(seed);
      const file = open(disk);
      saveSync(file, 1, 11);
      saveSync(file, 2, 12);
      disk.rotFile("/s/vote");
      assert.deepEqual(open(disk).load(), { term: 2, vote: 12 }, `seed ${seed}`);
    }
  });

  it("falls back to the slot before when all of the newest is unreadable", () => {
    const { disk } = createDisk();
    const file = open(disk);
    saveSync(file, 1, 11); // sequence 2: slot 0
    saveSync(file, 2, 12); // sequence 3: slot 1
    disk.file("/s/vote").data.fill(0xaa, slotBytes);
    assert.deepEqual(open(disk).load(), { term: 1, vote: 11 });
  });

  it("is corrupt when no copy is valid, and missing when it is gone", () => {
    const { disk } = createDisk();
    disk.file("/s/vote").data.fill(0);
    assert.throws(() => open(disk), code("corrupt"));
    disk.parent("/s/vote").directory.entries.delete("vote");
    assert.throws(() => open(disk), code("missing"));
  });

  it("refuses a record that a later version wrote", () => {
    const { disk } = createDisk();
    const { data } = disk.file("/s/vote");
    const end = 4 + 1 + 8 + 16; // magic, version, sequence, two fields
    data[slotBytes + 4] = 2;
    data.writeUInt32BE(crc32c(data, slotBytes, slotBytes + end), slotBytes + end);
    assert.throws(() => open(disk), code("newer_format"));
  });
});
