/**
 * What is whole of a store that is damaged, as a store of its own. The damaged one is only read: its
 * files are copied, the copy's tables are made readable (table-rescue.ts), and what broken blocks
 * held is put back where no newer version of the row is known.
 */
import { crc32c } from "../base/crc32c.ts";
import { limits } from "../base/limits.ts";
import type { Files } from "./files.ts";
import { type Kv, StorageError } from "./kv.ts";
import { createLevelKv, repairLevel } from "./level-kv.ts";
import { type StoreFiles, storeFiles } from "./manifest.ts";
import { readRecord } from "./record.ts";
import { checkStoreLog } from "./store-log.ts";
import { footerBytes as tableBytesMin } from "./table-check.ts";
import { rescueTable, type TableEntry, tableEntries } from "./table-rescue.ts";

/** A record that fails its check, or bytes that belong to no record. */
export interface BadRecord {
  readonly key: Buffer;
  readonly record: Buffer;
}

export interface Salvage {
  /** Bad records count as not there. */
  readonly kv: Kv;
  /** What was found damaged, a line each, for people. */
  readonly damages: readonly string[];
  /** Records met so far that are not whole. */
  readonly bad: readonly BadRecord[];
  /** Closes the copy and removes it. */
  close(): Promise<void>;
}

/** Bad records kept at the most; more are counted by nobody: such a store has little that is whole. */
const badMax = 100_000;
const rowsOfBatch = 1000;

/**
 * @param path - the damaged store; nothing may have it open
 * @param copyPath - for the copy: on the same disk, with room for all of it
 * @throws StorageError io; corrupt: nothing at all can be read
 */
export async function salvageStore(files: Files, path: string, copyPath: string): Promise<Salvage> {
  files.removeSync(copyPath);
  files.makeDirectorySync(copyPath);
  const work = new Salvager(files, path, copyPath);
  const kv = await work.open();
  const close = async () => {
    await kv.close();
    files.removeSync(copyPath);
  };
  try {
    await work.putBack(kv);
  } catch (error) {
    await close();
    throw error;
  }
  return { kv, damages: work.damages, bad: work.bad, close };
}

class Salvager {
  readonly damages: string[] = [];
  readonly bad: BadRecord[] = [];
  private readonly noted = new Set<string>();
  private readonly files: Files;
  private readonly path: string;
  private readonly copyPath: string;
  /** The newest version of each row that a broken block held, by key. */
  private readonly entries = new Map<string, TableEntry>();

  constructor(files: Files, path: string, copyPath: string) {
    this.files = files;
    this.path = path;
    this.copyPath = copyPath;
  }

  /** As its MANIFEST says, if that can be read; else what LevelDB makes of all files. */
  async open(): Promise<Kv> {
    const named = this.filesInForce();
    if (named) {
      this.copyNamed(named);
      try {
        return await this.openCopy();
      } catch (error) {
        if (!(error instanceof StorageError) || error.code === "io") throw error;
        this.damages.push(error.message);
      }
    }
    if (this.copyAll() > 0) await repairLevel(this.copyPath);
    return this.openCopy();
  }

  private async openCopy(): Promise<Kv> {
    const kv = await createLevelKv(this.copyPath, {
      // Of a store of which nothing is left, an empty one is what is whole.
      createIfMissing: true,
      onBadRecord: (key, record) => this.note(key, record),
    });
    try {
      checkStoreLog(this.files, this.copyPath);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== "corrupt") throw error;
      this.damages.push(error.message);
    }
    return kv;
  }

  /** null if that cannot be told. */
  private filesInForce(): StoreFiles | null {
    try {
      const found = storeFiles(this.files, this.path);
      const largest = Math.max(0, ...found.tableBytes.values());
      if (largest <= limits.tableCheckBytes) return found;
      throw new StorageError("corrupt", `${found.manifest}: a table of ${largest} bytes`);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "io") throw error;
      this.damages.push(error.message);
      return null;
    }
  }

  private copyNamed({ manifest, tableBytes, logNumber }: StoreFiles): void {
    for (const name of this.names()) {
      const isLog = name.endsWith(".log") && Number.parseInt(name, 10) >= logNumber;
      if (isLog || name === manifest || name === "CURRENT") this.write(name, this.read(name));
    }
    const present = new Set(this.names());
    for (const [number, size] of tableBytes) {
      const digits = String(number).padStart(6, "0");
      const name = present.has(`${digits}.sst`) ? `${digits}.sst` : `${digits}.ldb`;
      const bytes = present.has(name) ? this.read(name) : Buffer.alloc(0);
      this.write(name, this.readable(name, bytes, size));
    }
  }

  /** @returns how many files there are */
  private copyAll(): number {
    this.files.removeSync(this.copyPath);
    this.files.makeDirectorySync(this.copyPath);
    // What was found in broken blocks is found again.
    this.entries.clear();
    let count = 0;
    for (const name of this.names()) {
      const isTable = /\.(ldb|sst)$/.test(name);
      if (!isTable && !name.endsWith(".log")) continue;
      const bytes = this.read(name);
      this.write(name, isTable ? this.readable(name, bytes, bytes.length) : bytes);
      count++;
    }
    return count;
  }

  private names(): readonly string[] {
    return this.files.existsSync(this.path) ? this.files.listSync(this.path) : [];
  }

  private read(name: string): Buffer {
    const path = `${this.path}/${name}`;
    return this.files.readSync(path, 0, this.files.sizeSync(path));
  }

  private write(name: string, bytes: Buffer): void {
    this.files.writeSync(`${this.copyPath}/${name}`, bytes);
  }

  private readable(name: string, bytes: Buffer, size: number): Buffer {
    const rescue = rescueTable(bytes, Math.max(size, tableBytesMin), isWhole);
    if (rescue.table === null) return bytes;
    const lost = rescue.lostBytes > 0 ? `, ${rescue.lostBytes} bytes unreadable` : "";
    const state = bytes.length === 0 ? "is gone" : `${rescue.brokenBlocks} broken blocks${lost}`;
    this.damages.push(`table ${name}: ${state}`);
    for (const entry of rescue.entries) {
      if (entry.record !== null && !isWhole(entry.key, entry.record)) {
        this.note(entry.key, entry.record);
        continue;
      }
      const key = entry.key.toString("latin1");
      const known = this.entries.get(key);
      if (!known || known.sequence < entry.sequence) this.entries.set(key, entry);
    }
    return rescue.table;
  }

  private note(key: Buffer, record: Buffer): void {
    // A record is met whenever its row is read.
    const name = `${key.toString("latin1")}\0${crc32c(record)}`;
    if (this.noted.has(name) || this.bad.length >= badMax) return;
    this.noted.add(name);
    this.bad.push({ key: Buffer.from(key), record: Buffer.from(record) });
  }

  /** Rows of broken blocks, unless the copy has a newer version. */
  async putBack(kv: Kv): Promise<void> {
    const { entries } = this;
    if (entries.size === 0) return;
    this.dropOlder();
    let batch = kv.batch();
    for (const { key, record } of entries.values()) {
      if (record === null) batch.del(key);
      else batch.put(key, readRecord(key, record));
      if (batch.ops < rowsOfBatch) continue;
      await batch.write();
      batch = kv.batch();
    }
    await batch.write();
  }

  /** The copy was opened: all that its logs held is in tables now. */
  private dropOlder(): void {
    const { files, copyPath, entries } = this;
    for (const name of files.listSync(copyPath)) {
      if (!/\.(ldb|sst)$/.test(name)) continue;
      const bytes = files.readSync(`${copyPath}/${name}`, 0, files.sizeSync(`${copyPath}/${name}`));
      for (const { key, sequence } of tableEntries(bytes)) {
        const text = key.toString("latin1");
        const known = entries.get(text);
        if (known && known.sequence < sequence) entries.delete(text);
      }
    }
  }
}

function isWhole(key: Buffer, record: Buffer): boolean {
  try {
    readRecord(key, record);
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === "corrupt") return false;
    throw error;
  }
}
