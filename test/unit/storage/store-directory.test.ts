/** A data directory is made whole or not at all, and never opened as another's. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { toShardId } from "../../../src/base/brand.ts";
import { createFenceFile } from "../../../src/storage/fence-file.ts";
import { readHeader, writeHeader } from "../../../src/storage/header-file.ts";
import { type Kv, StorageError } from "../../../src/storage/kv.ts";
import {
  type DataDirectory,
  type DataDirectoryOptions,
  openDataDirectory,
} from "../../../src/storage/store-directory.ts";
import { createVoteFile } from "../../../src/storage/vote-file.ts";
import { code } from "../../contract/kv-suite.ts";
import { createMemoryFiles } from "../../sim/memory-files.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { createSeededRandom } from "../../sim/seeded-random.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

const expect = { nodeId: "n1", shardCount: 3, clusterNodes: [] };

const options: DataDirectoryOptions = {
  root: "/data",
  shards: [0, 1, 2].map(toShardId),
  expect,
  create: true,
  allowUnsafeFilesystem: false,
};

function createDisk(seed = 1): VirtualDisk {
  const random = createSeededRandom(seed);
  return new VirtualDisk({ unit: () => random.unit(), schedule: (run) => setImmediate(run) });
}

interface Hooks {
  readonly seed?: number;
  /** Called before each operation that changes the disk. */
  readonly step?: () => void;
}

async function open(
  disk: VirtualDisk,
  change: Partial<DataDirectoryOptions> = {},
  hooks: Hooks = {},
): Promise<DataDirectory> {
  const files = createMemoryFiles(disk);
  const step = hooks.step ?? (() => undefined);
  const stepped = new Proxy(files, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        step();
        return method.apply(target, args);
      };
    },
  });
  const deps = {
    files: stepped,
    random: createSeededRandom(hooks.seed ?? 7),
    openStore: (path: string, ask: { readonly createIfMissing: boolean }): Promise<Kv> => {
      step();
      return createMemoryKv(disk, path, ask);
    },
  };
  return openDataDirectory(deps, { ...options, ...change });
}

async function made(disk: VirtualDisk): Promise<DataDirectory> {
  const directory = await open(disk);
  await directory.release();
  return directory;
}

describe("data directory", () => {
  it("is made with one identity in every shard, and found again", async () => {
    const disk = createDisk();
    const first = await open(disk);
    assert.equal(first.isNew, true);
    assert.match(first.identity.clusterId, /^[0-9a-f]{32}$/);
    assert.ok(Number.isSafeInteger(first.identity.storeId) && first.identity.storeId > 0);
    for (const { kvPath, path, shard, generation } of first.shards) {
      assert.deepEqual([path, generation], [`/data/shard-${shard}`, 1]);
      assert.equal(kvPath, `${path}/db-1`);
      assert.equal(readHeader(createMemoryFiles(disk), path).storeId, first.identity.storeId);
      await (await createMemoryKv(disk, kvPath, { createIfMissing: false })).close();
      assert.equal(createVoteFile(createMemoryFiles(disk), path).load().term, 0);
      assert.equal(createFenceFile(createMemoryFiles(disk), path).load().index, 0);
    }
    await first.release();
    disk.crash("power");
    const second = await open(disk, { create: false }, { seed: 8 });
    assert.deepEqual([second.isNew, second.identity], [false, first.identity]);
  });

  it("gives different store ids to different directories", async () => {
    const ids = new Set<number>();
    for (let seed = 0; seed < 20; seed++) {
      ids.add((await open(createDisk(), {}, { seed })).identity.storeId);
    }
    assert.equal(ids.size, 20);
  });

  it("5.4-12 belongs to one process at a time", async () => {
    const disk = createDisk();
    const first = await open(disk);
    await assert.rejects(open(disk), code("locked"));
    await first.release();
    await (await open(disk)).release();
  });

  it("is not made unless that is asked for", async () => {
    const disk = createDisk();
    await assert.rejects(open(disk, { create: false }), code("missing"));
    assert.equal(createMemoryFiles(disk).existsSync("/data"), false);
  });

  const others: readonly [string, Partial<DataDirectoryOptions>][] = [
    ["5.4-11 is refused as foreign under another node", { expect: { ...expect, nodeId: "n2" } }],
    [
      "5.4-11 is refused as foreign under another shard count",
      { expect: { ...expect, shardCount: 4 } },
    ],
    [
      "5.4-11 is refused as foreign under another list of nodes",
      { expect: { ...expect, clusterNodes: ["n1=a:1"] } },
    ],
    ["5.4-11 is refused as foreign under fewer shards", { shards: [toShardId(0), toShardId(1)] }],
  ];
  for (const [what, change] of others) {
    it(`${what}, before anything is written`, async () => {
      const disk = createDisk();
      await made(disk);
      const before = snapshot(disk);
      await assert.rejects(open(disk, change), code("foreign"));
      assert.equal(snapshot(disk), before);
    });
  }

  it("is refused when a shard of it comes from another store", async () => {
    const [disk, other] = [createDisk(), createDisk()];
    await made(disk);
    await (await open(other, {}, { seed: 99 })).release();
    const files = createMemoryFiles(disk);
    const header = createMemoryFiles(other).readSync("/data/shard-1/header", 0, 9999);
    files.writeSync("/data/shard-1/header", header);
    await assert.rejects(open(disk), code("foreign"));
  });

  it("is refused when a shard stands in the place of another", async () => {
    const disk = createDisk();
    await made(disk);
    const files = createMemoryFiles(disk);
    files.writeSync("/data/shard-1/header", files.readSync("/data/shard-2/header", 0, 9999));
    await assert.rejects(open(disk), code("foreign"));
  });

  it("never makes a shard in the place of a lost one", async () => {
    const disk = createDisk();
    await made(disk);
    createMemoryFiles(disk).removeSync("/data/shard-1");
    await assert.rejects(open(disk), code("missing"));
  });

  it("starts over where a making was cut short, with nothing left of it", async () => {
    const disk = createDisk();
    const files = createMemoryFiles(disk);
    for (const path of ["/data", "/data/shard-1.new"]) files.makeDirectorySync(path);
    files.writeSync("/data/shard-1.new/junk", Buffer.from("x"));
    assert.equal((await open(disk)).isNew, true);
    assert.equal(files.existsSync("/data/shard-1/junk"), false);
  });

  it("never finishes a making with a shard of another store", async () => {
    const disk = createDisk();
    await made(disk);
    const files = createMemoryFiles(disk);
    files.renameSync("/data/shard-1", "/data/shard-1.new");
    const header = readHeader(files, "/data/shard-1.new");
    const other = { ...header, clusterId: "0".repeat(32) };
    writeHeader(files, "/data/shard-1.new", other);
    await assert.rejects(open(disk), code("foreign"));
    assert.equal(files.existsSync("/data/shard-1"), false);
    writeHeader(files, "/data/shard-1.new", header);
    assert.equal((await open(disk)).isNew, false);
  });

  for (const name of ["header", "current", "db-1"]) {
    it(`is refused when ${name} of a shard is gone`, async () => {
      const disk = createDisk();
      await made(disk);
      createMemoryFiles(disk).removeSync(`/data/shard-2/${name}`);
      await assert.rejects(open(disk), code("missing"));
    });
  }

  for (const name of ["header", "current"]) {
    it(`finds every flipped bit in ${name}`, async () => {
      for (let seed = 0; seed < 60; seed++) {
        const disk = createDisk(seed);
        await made(disk);
        disk.rotFile(`/data/shard-0/${name}`);
        await assert.rejects(open(disk), code("corrupt"), `seed ${seed}`);
      }
    });
  }

  it("5.4-10 refuses memory and network filesystems, unless told that they will do", async () => {
    for (const type of [0x01021994, 0x6969]) {
      const disk = createDisk();
      disk.filesystemType = type;
      await assert.rejects(open(disk), code("unsuitable"));
      const directory = await open(disk, { allowUnsafeFilesystem: true });
      assert.equal(directory.filesystem.kind, "refused");
    }
    const odd = createDisk();
    odd.filesystemType = 0x794c7630;
    assert.deepEqual((await open(odd)).filesystem, { kind: "unknown", name: "0x794c7630" });
  });

  it("is whole or not there after a crash at any step of its making", async () => {
    class Crash extends Error {}
    let finished = false;
    let resumed = 0;
    for (let at = 1; !finished; at++) {
      for (const kind of ["kill", "power"] as const) {
        const disk = createDisk(at);
        let left = at;
        const step = (): void => {
          if (--left === 0) {
            disk.crash(kind);
            throw new Crash();
          }
        };
        const error = await open(disk, {}, { step }).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        finished = error === undefined;
        if (finished) break;
        assert.ok(error instanceof Crash || error instanceof StorageError, String(error));
        const directory = await open(disk, {}, { seed: 1000 + at });
        assert.equal(directory.shards.length, 3, `${kind} at step ${at}`);
        if (!directory.isNew) resumed++;
      }
    }
    assert.ok(resumed > 0, "some crash came between the renames");
  });
});

/** All names and bytes of the tree, but of the lock. */
function snapshot(disk: VirtualDisk): string {
  const lines: string[] = [];
  const walk = (path: string): void => {
    const node = disk.find(path);
    if (node?.kind === "file") lines.push(`${path} ${node.data.toString("hex")}`);
    else for (const name of node?.entries.keys() ?? []) walk(`${path}/${name}`);
  };
  walk("");
  return lines.sort().join("\n");
}
