/** What every Files must do. Run for the real filesystem and the virtual disk. */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { type Files, replaceFileSync } from "../../src/storage/files.ts";
import { code } from "./kv-suite.ts";

export interface FilesHarness {
  readonly files: Files;
  /** An empty directory. */
  readonly root: string;
  end(): void;
}

export function runFilesSuite(name: string, createHarness: () => FilesHarness): void {
  describe(`Files contract: ${name}`, () => {
    const ends: (() => void)[] = [];

    afterEach(() => {
      for (const end of ends.splice(0)) end();
    });

    function fresh(): FilesHarness {
      const made = createHarness();
      ends.push(made.end);
      return made;
    }

    it("reads back what was written, in whole and in part", () => {
      const { files, root } = fresh();
      files.writeSync(`${root}/a`, Buffer.from("hello world"));
      assert.equal(files.readSync(`${root}/a`, 0, 100).toString(), "hello world");
      assert.equal(files.readSync(`${root}/a`, 6, 3).toString(), "wor");
      assert.equal(files.readSync(`${root}/a`, 11, 3).length, 0);
      assert.equal(files.sizeSync(`${root}/a`), 11);
      files.writeSync(`${root}/a`, Buffer.from("short"));
      assert.equal(files.readSync(`${root}/a`, 0, 100).toString(), "short");
    });

    it("says missing of what is not there", () => {
      const { files, root } = fresh();
      const path = `${root}/none`;
      assert.equal(files.existsSync(path), false);
      assert.throws(() => files.readSync(path, 0, 1), code("missing"));
      assert.throws(() => files.openSync(path), code("missing"));
      assert.throws(() => files.sizeSync(path), code("missing"));
      assert.throws(() => files.listSync(path), code("missing"));
      assert.throws(() => files.renameSync(path, `${root}/b`), code("missing"));
      assert.throws(() => files.syncDirectorySync(path), code("missing"));
      assert.throws(() => files.writeSync(`${path}/a`, Buffer.alloc(1)), code("missing"));
      assert.throws(() => files.makeDirectorySync(`${path}/a`), code("missing"));
    });

    it("makes, lists, renames and removes directories with what is in them", () => {
      const { files, root } = fresh();
      files.makeDirectorySync(`${root}/d`);
      files.makeDirectorySync(`${root}/d`);
      files.writeSync(`${root}/d/b`, Buffer.from("1"));
      files.writeSync(`${root}/d/a`, Buffer.from("2"));
      assert.deepEqual(files.listSync(`${root}/d`), ["a", "b"]);
      files.renameSync(`${root}/d`, `${root}/e`);
      files.syncDirectorySync(root);
      assert.deepEqual(files.listSync(root), ["e"]);
      assert.equal(files.readSync(`${root}/e/a`, 0, 9).toString(), "2");
      files.removeSync(`${root}/e`);
      files.removeSync(`${root}/e`);
      assert.deepEqual(files.listSync(root), []);
    });

    it("replaces a file as a whole and leaves nothing beside it", () => {
      const { files, root } = fresh();
      replaceFileSync(files, root, "f", Buffer.from("old and long"));
      replaceFileSync(files, root, "f", Buffer.from("new"));
      assert.equal(files.readSync(`${root}/f`, 0, 100).toString(), "new");
      assert.deepEqual(files.listSync(root), ["f"]);
    });

    it("rewrites an open file in place", async () => {
      const { files, root } = fresh();
      files.writeSync(`${root}/s`, Buffer.from("0123456789"));
      const handle = files.openSync(`${root}/s`);
      await handle.write(2, Buffer.from("ab"));
      handle.writeSync(8, Buffer.from("yz"));
      assert.equal(handle.readSync(0, 100).toString(), "01ab4567yz");
      handle.closeSync();
      assert.equal(files.readSync(`${root}/s`, 0, 100).toString(), "01ab4567yz");
    });

    it("knows the filesystem and its free bytes", () => {
      const { files, root } = fresh();
      const facts = files.filesystemSync(root);
      assert.ok(facts.type > 0);
      assert.ok(facts.freeBytes > 0 && facts.freeBytes < facts.totalBytes);
    });
  });
}
