import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { createLevelStoreCopier } from "../../../src/storage/level-store-copy.ts";
import { createNodeFiles } from "../../../src/storage/node-files.ts";
import { storeCopySuite } from "../../contract/store-copy-suite.ts";

storeCopySuite("LevelDB", async () => {
  const root = await mkdtemp(join(tmpdir(), "qq-copy-"));
  return {
    copier: createLevelStoreCopier(createNodeFiles()),
    live: join(root, "live"),
    made: join(root, "made"),
    openStore: (path, createIfMissing) =>
      createLevelKv(path, { createIfMissing, writeBufferBytes: 1024 * 1024 }),
    exists: existsSync,
    cleanUp: () => rm(root, { recursive: true, force: true }),
  };
});
