import assert from "node:assert/strict";
import { it } from "node:test";
import { toLogIndex, toTerm } from "../../../src/base/brand.ts";
import { createFenceFile, holdsFence, initFenceFile } from "../../../src/storage/fence-file.ts";
import { code } from "../../contract/kv-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

const at = (term: number, index: number) => ({ term: toTerm(term), index: toLogIndex(index) });

it("keeps the last synced position over a restart", async () => {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  const files = createMemoryFiles(disk);
  files.makeDirectorySync("/s");
  initFenceFile(files, "/s");
  files.syncDirectorySync("/s");
  const fence = createFenceFile(files, "/s");
  assert.deepEqual(fence.load(), at(0, 0));
  await fence.save(at(2, 100));
  fence.saveSync(at(3, 90));
  fence.closeSync();
  disk.crash("power");
  assert.deepEqual(createFenceFile(files, "/s").load(), at(3, 90));
});

it("takes nothing more after a failed save", async () => {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  const files = createMemoryFiles(disk);
  files.makeDirectorySync("/s");
  initFenceFile(files, "/s");
  const fence = createFenceFile(files, "/s");
  disk.failingSyncs = 1;
  await assert.rejects(fence.save(at(1, 1)), code("io"));
  await assert.rejects(fence.save(at(1, 2)), code("io"));
  assert.throws(() => fence.saveSync(at(1, 3)), code("io"));
});

it("does not take a vote for a fence", () => {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  const files = createMemoryFiles(disk);
  files.makeDirectorySync("/s");
  initFenceFile(files, "/s");
  const { data } = disk.file("/s/fence");
  data.write("QVOT", 4096);
  data.write("QVOT", 4096 + 2048);
  assert.throws(() => createFenceFile(files, "/s"), code("corrupt"));
});

it("sees a log that ends before the fence, and none that was rightly cut in a later term", () => {
  const fence = at(3, 100);
  const holds = (term: number, index: number): boolean =>
    holdsFence(fence, toTerm(term), toLogIndex(index));
  assert.deepEqual(
    [holds(3, 100), holds(3, 250), holds(4, 60), holds(3, 99), holds(2, 300), holds(0, 0)],
    [true, true, true, false, false, false],
  );
});
