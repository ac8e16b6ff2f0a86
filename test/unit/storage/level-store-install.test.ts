/** What a received store costs the system: each file synced whole, and none left open. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, mock, test } from "node:test";
import { createLevelStoreCopier } from "../../../src/storage/level-store-copy.ts";
import { createNodeFiles } from "../../../src/storage/node-files.ts";

let root: string;
/** Bytes of each file, by its inode, when it was last synced. */
const synced = new Map<number, number>();

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "qq-install-"));
  synced.clear();
  const { fsync } = fs;
  mock.method(fs, "fsync", (fd: number, done: (error: Error | null) => void) => {
    const { ino, size } = fs.fstatSync(fd);
    synced.set(ino, size);
    fsync(fd, done);
  });
  syncBuiltinESMExports();
});

afterEach(async () => {
  mock.restoreAll();
  syncBuiltinESMExports();
  await rm(root, { recursive: true, force: true });
});

/** Files of a folder that this process has open. */
function openIn(folder: string): readonly string[] {
  return fs
    .readdirSync("/proc/self/fd")
    .map((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return "";
      }
    })
    .filter((path) => path.startsWith(folder));
}

test("every received file is synced with all its bytes, and none stays open", async () => {
  const path = join(root, "made");
  const install = createLevelStoreCopier(createNodeFiles()).install(path);
  const names = ["000005.ldb", "000007.log", "MANIFEST-000004", "CURRENT"];
  for (const name of names) {
    const file = { name, bytes: 2_000 };
    for (const half of [1, 2]) await install.write(file, Buffer.alloc(1_000, half));
  }
  await install.finish();
  for (const name of names) {
    const { ino, size } = fs.statSync(join(path, name));
    assert.deepEqual([name, size, synced.get(ino)], [name, 2_000, 2_000]);
  }
  if (process.platform === "linux") assert.deepEqual(openIn(path), []);
});

test("what is discarded stays open no longer than it exists", async () => {
  const path = join(root, "made");
  const install = createLevelStoreCopier(createNodeFiles()).install(path);
  await install.write({ name: "000005.ldb", bytes: 2_000 }, Buffer.alloc(1_000));
  install.discard();
  assert.equal(fs.existsSync(path), false);
  if (process.platform === "linux") assert.deepEqual(openIn(path), []);
});
