/** What every StoreCopier must do: run on the real one and the simulated one. */
import { deepEqual, equal } from "node:assert/strict";
import { describe, it } from "node:test";
import { createGroupCommit } from "../../src/storage/group-commit.ts";
import type { Kv } from "../../src/storage/kv.ts";
import type { StoreCopier, StoreCopy } from "../../src/storage/store-copy.ts";

export interface CopyWorld {
  readonly copier: StoreCopier;
  /** Paths of the live store and of the one to be made. */
  readonly live: string;
  readonly made: string;
  openStore(path: string, createIfMissing: boolean): Promise<Kv>;
  exists(path: string): boolean;
  cleanUp(): Promise<void>;
}

const silent = { observe: () => undefined };
const chunkBytes = 10_000;

export function storeCopySuite(name: string, createWorld: () => Promise<CopyWorld>): void {
  describe(`store copies: ${name}`, () => {
    async function withWorld(use: (world: CopyWorld) => Promise<void>): Promise<void> {
      const world = await createWorld();
      try {
        await use(world);
      } finally {
        await world.cleanUp();
      }
    }

    it("are the store as it was between two batches, while writing goes on", () =>
      withWorld(async (world) => {
        const kv = await world.openStore(world.live, true);
        const commit = createGroupCommit({
          kv,
          clock: { monotonicMs: () => 0, wallMs: () => 0 },
          metrics: { batchOps: silent, batchBytes: silent, syncSeconds: silent },
          onFatal: (error) => {
            throw error;
          },
        });
        let durable = 0;
        const write = (batchNumber: number) =>
          commit.add(
            (batch) => {
              for (let i = 0; i < 50; i++) batch.put(rowKey(i), textOf(batchNumber));
              batch.del(rowKey(100 + batchNumber - 1));
              batch.put(rowKey(100 + batchNumber), textOf(batchNumber));
            },
            () => {
              durable = batchNumber;
            },
          );
        const copies: { readonly copy: StoreCopy; readonly durable: number }[] = [];
        for (let round = 1; round <= 400; round++) {
          write(round);
          if (round % 100 === 0) {
            commit.between(() => {
              copies.push({ copy: world.copier.copy(world.live), durable });
            });
          }
          if (round % 7 === 0) await commit.drain();
        }
        await commit.drain();
        equal(copies.length, 4);
        for (const { copy, durable: at } of copies) {
          const rows = await rowsOf(world, copy);
          const expected = at === 0 ? [] : [...Array(50).keys(), 100 + at];
          deepEqual(
            rows.map(([key, value]) => `${key}=${value}`),
            expected.map((i) => `${rowKey(i)}=${textOf(at)}`),
          );
          copy.close();
        }
        await kv.close();
      }));

    it("leave nothing behind when they are given up", () =>
      withWorld(async (world) => {
        const kv = await world.openStore(world.live, true);
        const install = world.copier.install(world.made);
        install.discard();
        equal(world.exists(world.made), false);
        await kv.close();
      }));
  });
}

async function rowsOf(world: CopyWorld, copy: StoreCopy): Promise<[string, string][]> {
  const install = world.copier.install(world.made);
  for (const file of copy.files) {
    for (let at = 0; at < file.bytes; at += chunkBytes) {
      await install.write(file, await copy.read(file, at, chunkBytes));
    }
  }
  await install.finish();
  const made = await world.openStore(world.made, false);
  const rows = await made.range({
    gte: Buffer.alloc(0),
    lt: Buffer.alloc(8, 0xff),
    limit: 1000,
  });
  await made.close();
  return rows.map(({ key, value }) => [key.toString(), value.toString()]);
}

function rowKey(i: number): Buffer {
  return Buffer.from(`key-${String(i).padStart(6, "0")}`);
}

function textOf(batch: number): Buffer {
  return Buffer.from(`value-${batch}-`.repeat(60));
}
