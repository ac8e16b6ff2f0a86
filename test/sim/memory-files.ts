/** The Files port on a virtual disk. */
import { assert } from "../../src/base/assert.ts";
import type { Files, FilesystemFacts, SlotFileHandle } from "../../src/storage/files.ts";
import { StorageError } from "../../src/storage/kv.ts";
import { newDirectory, newFile, type VirtualDisk, type VirtualFile } from "./virtual-disk.ts";

export function createMemoryFiles(disk: VirtualDisk): Files {
  return new MemoryFiles(disk);
}

class MemoryFiles implements Files {
  readonly #disk: VirtualDisk;

  constructor(disk: VirtualDisk) {
    this.#disk = disk;
  }

  existsSync(path: string): boolean {
    return this.#disk.find(path) !== undefined;
  }

  listSync(path: string): string[] {
    return [...this.#disk.directory(path).entries.keys()].sort();
  }

  makeDirectorySync(path: string): void {
    const { directory, name } = this.#disk.parent(path);
    if (directory.entries.has(name)) return;
    const made = newDirectory();
    directory.entries.set(name, made);
    directory.durable.set(name, made);
  }

  removeSync(path: string): void {
    if (this.existsSync(path)) {
      const { directory, name } = this.#disk.parent(path);
      directory.entries.delete(name);
    }
  }

  sizeSync(path: string): number {
    return this.#disk.file(path).data.length;
  }

  readSync(path: string, at: number, size: number): Buffer {
    return Buffer.from(this.#disk.file(path).data.subarray(at, at + size));
  }

  writeSync(path: string, bytes: Uint8Array): void {
    const { directory, name } = this.#disk.parent(path);
    this.#admit(path);
    directory.entries.set(name, newFile(Buffer.from(bytes)));
  }

  renameSync(from: string, to: string): void {
    const source = this.#disk.parent(from);
    const target = this.#disk.parent(to);
    const node = source.directory.entries.get(source.name);
    if (node === undefined) throw new StorageError("missing", `${from}: no such file`);
    source.directory.entries.delete(source.name);
    target.directory.entries.set(target.name, node);
  }

  syncDirectorySync(path: string): void {
    const directory = this.#disk.directory(path);
    if (this.#disk.takeSyncFailure()) throw new StorageError("io", `${path}: fsync failed`);
    directory.durable = new Map(directory.entries);
  }

  openSync(path: string): SlotFileHandle {
    return new MemorySlotFile(this.#disk, this.#disk.file(path), path);
  }

  filesystemSync(path: string): FilesystemFacts {
    this.#disk.directory(path);
    const { filesystemType: type, totalBytes, freeBytes } = this.#disk;
    return { type, totalBytes, freeBytes };
  }

  #admit(path: string): void {
    if (this.#disk.full) throw new StorageError("io", `${path}: no space left on device`);
    if (this.#disk.takeSyncFailure()) throw new StorageError("io", `${path}: fsync failed`);
  }
}

class MemorySlotFile implements SlotFileHandle {
  readonly #disk: VirtualDisk;
  readonly #file: VirtualFile;
  readonly #path: string;
  readonly #epoch: number;
  #open = true;

  constructor(disk: VirtualDisk, file: VirtualFile, path: string) {
    this.#disk = disk;
    this.#file = file;
    this.#path = path;
    this.#epoch = disk.epoch;
  }

  readSync(at: number, size: number): Buffer {
    this.#assertOpen();
    return Buffer.from(this.#file.data.subarray(at, at + size));
  }

  write(at: number, bytes: Uint8Array): Promise<void> {
    this.#assertOpen();
    const write = { at, bytes: Buffer.from(bytes) };
    this.#file.inFlight.add(write);
    return new Promise((resolve, reject) => {
      this.#disk.effects.schedule(() => {
        if (this.#disk.epoch !== this.#epoch) return;
        this.#file.inFlight.delete(write);
        try {
          this.#put(write.at, write.bytes);
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  writeSync(at: number, bytes: Uint8Array): void {
    this.#assertOpen();
    this.#put(at, Buffer.from(bytes));
  }

  closeSync(): void {
    this.#open = false;
  }

  /** A failed sync leaves the bytes there or not: nobody knows before the next start. */
  #put(at: number, bytes: Buffer): void {
    const failed = this.#disk.takeSyncFailure();
    if (!failed || this.#disk.chance(0.5)) this.#file.data.set(bytes, at);
    if (failed) throw new StorageError("io", `${this.#path}: fdatasync failed`);
  }

  #assertOpen(): void {
    const alive = this.#open && this.#disk.epoch === this.#epoch;
    assert(alive, "the file is open", this.#path);
  }
}
