import { storeCopySuite } from "../../contract/store-copy-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { createMemoryStoreCopier } from "../../sim/memory-store-copy.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

storeCopySuite("in memory", async () => {
  const disk = new VirtualDisk({ unit: () => 0.4, schedule: (callback) => setImmediate(callback) });
  return {
    copier: createMemoryStoreCopier(disk),
    live: "/live",
    made: "/made",
    openStore: (path, createIfMissing) => createMemoryKv(disk, path, { createIfMissing }),
    exists: (path) => createMemoryFiles(disk).existsSync(path),
    cleanUp: async () => undefined,
  };
});
