import assert from "node:assert/strict";
import { it } from "node:test";
import { readSealedFile, writeSealedFile } from "../../../src/storage/sealed-file.ts";
import { code } from "../../contract/kv-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

function createFiles() {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  return createMemoryFiles(disk);
}

it("gives back its content and can be read by a person", () => {
  const files = createFiles();
  writeSealedFile(files, "", "header", 1, { name: "Zürich", list: [1, 2] });
  assert.deepEqual(readSealedFile(files, "", "header", 1), { name: "Zürich", list: [1, 2] });
  const text = files.readSync("/header", 0, 999).toString();
  assert.match(text, /^quorumq-header 1 [0-9a-f]{8}\n\{"name":"Zürich","list":\[1,2\]\}\n$/);
});

it("5.4-24 refuses a later version and the file of another name", () => {
  const files = createFiles();
  writeSealedFile(files, "", "header", 2, {});
  assert.throws(() => readSealedFile(files, "", "header", 1), code("newer_format"));
  files.renameSync("/header", "/current");
  assert.throws(() => readSealedFile(files, "", "current", 2), code("corrupt"));
});

it("refuses a file that is cut anywhere, or longer than it was", () => {
  const files = createFiles();
  writeSealedFile(files, "", "current", 1, { generation: 12 });
  const whole = files.readSync("/current", 0, 999);
  for (let size = 0; size < whole.length; size++) {
    files.writeSync("/current", whole.subarray(0, size));
    assert.throws(() => readSealedFile(files, "", "current", 1), code("corrupt"), `${size} bytes`);
  }
  files.writeSync("/current", Buffer.concat([whole, Buffer.from("x")]));
  assert.throws(() => readSealedFile(files, "", "current", 1), code("corrupt"));
});
