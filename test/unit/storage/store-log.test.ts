import assert from "node:assert/strict";
import { it } from "node:test";
import { checkStoreLog } from "../../../src/storage/store-log.ts";
import { code } from "../../contract/kv-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

function filesWith(name: string, text: string) {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  const files = createMemoryFiles(disk);
  files.makeDirectorySync("/db");
  files.writeSync(`/db/${name}`, Buffer.from(text));
  return files;
}

const calm = "2026/11/21-08:00:00.000 7f00 Recovering log #3\n";
const dropped = "2026/11/21-08:00:00.001 7f00 000003.log: dropping 32741 bytes; Corruption: bad\n";
const ignored = "2026/11/21-08:00:00.001 7f00 (ignoring error) 000003.log: Corruption: bad\n";

it("takes a store whose LOG tells of nothing lost, or that has none", () => {
  checkStoreLog(filesWith("LOG", calm), "/db");
  checkStoreLog(filesWith("other", dropped), "/db");
});

for (const name of ["LOG", "LOG.old"]) {
  it(`finds what LevelDB left out when it recovered, in ${name}`, () => {
    for (const line of [dropped, ignored]) {
      const files = filesWith(name, calm + line + calm);
      assert.throws(() => checkStoreLog(files, "/db"), code("corrupt"));
      assert.throws(() => checkStoreLog(files, "/db"), /000003\.log/);
    }
  });
}

it("finds a line wherever the chunks of a long LOG are cut", () => {
  const chunk = 64 * 1024;
  for (let shift = -dropped.length; shift <= 0; shift += 7) {
    const files = filesWith("LOG", ".".repeat(chunk + shift) + dropped + ".".repeat(chunk));
    assert.throws(() => checkStoreLog(files, "/db"), code("corrupt"), `shift ${shift}`);
  }
});
