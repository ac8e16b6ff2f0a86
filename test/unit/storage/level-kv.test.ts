import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClassicLevel } from "classic-level";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { type KvHarness, runKvSuite } from "../../contract/kv-suite.ts";

async function createHarness(): Promise<KvHarness> {
  const directory = await mkdtemp(join(tmpdir(), "quorumq-kv-"));
  const path = join(directory, "db");

  async function raw<T>(use: (level: ClassicLevel<Buffer, Buffer>) => Promise<T>): Promise<T> {
    const level = new ClassicLevel<Buffer, Buffer>(path, {
      keyEncoding: "buffer",
      valueEncoding: "buffer",
    });
    await level.open();
    try {
      return await use(level);
    } finally {
      await level.close();
    }
  }

  return {
    open: (options) => createLevelKv(path, options ?? { createIfMissing: true }),
    putRaw: (key, record) => raw((level) => level.put(key, record)),
    getRaw: (key) => raw(async (level) => (await level.get(key)) as Buffer),
    end: () => rm(directory, { recursive: true, force: true }),
  };
}

runKvSuite("LevelDB", createHarness);
