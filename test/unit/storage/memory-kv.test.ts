import { type KvHarness, runKvSuite } from "../../contract/kv-suite.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

async function createHarness(): Promise<KvHarness> {
  const disk = new VirtualDisk({ unit: () => 0.5, schedule: (callback) => setImmediate(callback) });
  const key = (bytes: Buffer): string => bytes.toString("latin1");
  return {
    open: (options) => openIn(disk, options ?? { createIfMissing: true }),
    putRaw: async (at, record) => disk.store("/db").append([{ key: key(at), record }]),
    getRaw: async (at) => Buffer.from(disk.store("/db").rows.get(key(at)) as Buffer),
    end: async () => undefined,
  };
}

function openIn(disk: VirtualDisk, options: { readonly createIfMissing: boolean }) {
  return createMemoryKv(disk, "/db", options);
}

runKvSuite("memory", createHarness);
