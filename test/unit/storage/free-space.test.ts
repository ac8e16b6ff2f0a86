import assert from "node:assert/strict";
import { it } from "node:test";
import { MiB } from "../../../src/base/limits.ts";
import { reserveBytes, sampleFreeSpace, spaceLevel } from "../../../src/storage/free-space.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

const GiB = 1024 * MiB;

it("keeps a twentieth of the filesystem free, 256 MiB at least", () => {
  assert.equal(reserveBytes(1 * GiB), 256 * MiB);
  assert.equal(reserveBytes(100 * GiB), 5 * GiB);
});

it("5.4-23 gives up creates at the reserve, all but draining at half of it, everything before the end", () => {
  const reserve = 256 * MiB;
  const levels = [256, 255, 128, 127, 64, 63, 0].map((free) => spaceLevel(free * MiB, reserve));
  assert.deepEqual(levels, [
    "ok",
    "no_creates",
    "no_creates",
    "drain_only",
    "drain_only",
    "stop",
    "stop",
  ]);
});

it("samples the filesystem of the data directory", () => {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  disk.totalBytes = 100 * GiB;
  disk.freeBytes = 4 * GiB;
  assert.deepEqual(sampleFreeSpace(createMemoryFiles(disk), "/"), {
    level: "no_creates",
    freeBytes: 4 * GiB,
    reserveBytes: 5 * GiB,
  });
});
