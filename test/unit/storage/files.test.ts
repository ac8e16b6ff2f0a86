import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { createNodeFiles } from "../../../src/storage/node-files.ts";
import { runFilesSuite } from "../../contract/files-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

runFilesSuite("node", () => {
  const root = mkdtempSync(join(tmpdir(), "quorumq-files-"));
  return {
    files: createNodeFiles(),
    root,
    end: () => rmSync(root, { recursive: true, force: true }),
  };
});

runFilesSuite("virtual disk", () => {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  const files = createMemoryFiles(disk);
  files.makeDirectorySync("/data");
  return { files, root: "/data", end: () => undefined };
});

it("makes files for the owner alone", () => {
  const root = mkdtempSync(join(tmpdir(), "quorumq-modes-"));
  try {
    const files = createNodeFiles();
    files.makeDirectorySync(`${root}/d`);
    files.writeSync(`${root}/d/f`, Buffer.from("x"));
    assert.equal(statSync(`${root}/d`).mode & 0o777, 0o700);
    assert.equal(statSync(`${root}/d/f`).mode & 0o777, 0o600);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
