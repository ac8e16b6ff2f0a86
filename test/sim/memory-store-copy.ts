/** The StoreCopier port on a virtual disk: all rows of a store as one file. */
import { assert } from "../../src/base/assert.ts";
import { ByteReader, ByteWriter } from "../../src/base/bytes.ts";
import type { StoreCopier, StoreInstall } from "../../src/storage/store-copy.ts";
import { newDirectory, type VirtualDisk } from "./virtual-disk.ts";
import type { StoredOp } from "./virtual-store.ts";

const name = "rows";

export function createMemoryStoreCopier(disk: VirtualDisk): StoreCopier {
  return {
    copy(path) {
      const { rows } = disk.store(path);
      const out = new ByteWriter(1024);
      for (let i = 0; i < rows.size; i++) {
        const key = rows.keyAt(i);
        out.latin1(key);
        out.sized(rows.get(key) as Buffer);
      }
      const bytes = out.finish();
      return {
        files: [{ name, bytes: bytes.length }],
        read: async (_, at, size) => Buffer.from(bytes.subarray(at, at + size)),
        close: () => undefined,
      };
    },
    install: (path) => new MemoryInstall(disk, path),
  };
}

class MemoryInstall implements StoreInstall {
  private readonly disk: VirtualDisk;
  private readonly path: string;
  private readonly epoch: number;
  private readonly parts: Buffer[] = [];

  constructor(disk: VirtualDisk, path: string) {
    this.disk = disk;
    this.path = path;
    this.epoch = disk.epoch;
    const { directory, name: own } = disk.parent(path);
    directory.entries.set(own, newDirectory());
  }

  async write(_: unknown, bytes: Buffer): Promise<void> {
    this.parts.push(Buffer.from(bytes));
  }

  async finish(): Promise<void> {
    assert(this.disk.epoch === this.epoch, "no write after a crash", this.path);
    const input = new ByteReader(Buffer.concat(this.parts));
    const batch: StoredOp[] = [];
    while (input.left > 0) batch.push({ key: input.latin1(), record: Buffer.from(input.sized()) });
    const store = this.disk.makeStore(this.path);
    store.append(batch);
    store.flush();
  }

  discard(): void {
    if (this.disk.epoch !== this.epoch) return;
    const { directory, name: own } = this.disk.parent(this.path);
    directory.entries.delete(own);
  }
}
