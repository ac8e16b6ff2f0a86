/**
 * Copies of a LevelDB store by hard links (DESIGN section 3). Only the live tables that the MANIFEST
 * names and the log files behind it are linked; tables never change, and of a log only the bytes up
 * to its size at that moment count. The links are only read: a linked copy that is opened as a store
 * would write into files of the live one.
 */
import {
  closeSync,
  fsync as fsyncFd,
  linkSync,
  openSync,
  read as readFd,
  write as writeFd,
} from "node:fs";
import { assert } from "../base/assert.ts";
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";
import { type StoreFiles, storeFiles } from "./manifest.ts";
import type { StoreCopier, StoreCopy, StoreFile, StoreInstall } from "./store-copy.ts";

/** The MANIFEST changes when a compaction ends meanwhile; they last longer than linking does. */
const copyTries = 20;
const fileMode = 0o600;

export function createLevelStoreCopier(files: Files): StoreCopier {
  let copies = 0;
  return {
    copy: (path) => copyStore(files, path, `${path}.copy-${copies++}`),
    install: (path) => new LevelInstall(files, path),
  };
}

function copyStore(files: Files, path: string, links: string): StoreCopy {
  for (let i = 0; i < copyTries; i++) {
    files.removeSync(links);
    files.makeDirectorySync(links);
    const found = storeFiles(files, path);
    const linked = tryLink(files, path, links, found);
    if (linked && isUnchanged(files, path, found))
      return new LevelCopy(files, links, found, linked);
  }
  files.removeSync(links);
  throw new StorageError("io", `${path}: its files change too fast to be copied`);
}

/** @returns null if a file is gone: a compaction has ended meanwhile */
function tryLink(files: Files, path: string, links: string, found: StoreFiles): StoreFile[] | null {
  const present = new Set(files.listSync(path));
  const names = found.tables.map((n) => tableName(present, n));
  for (const name of present) {
    const number = /^(\d+)\.log$/.exec(name)?.[1];
    if (number !== undefined && Number(number) >= found.logNumber) names.push(name);
  }
  const linked: StoreFile[] = [];
  for (const name of names) {
    try {
      linkSync(`${path}/${name}`, `${links}/${name}`);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
      throw new StorageError("io", `${path}/${name}: ${String(error)}`, error);
    }
    linked.push({ name, bytes: files.sizeSync(`${links}/${name}`) });
  }
  return linked;
}

function tableName(present: ReadonlySet<string>, number: number): string {
  const digits = String(number).padStart(6, "0");
  return present.has(`${digits}.sst`) ? `${digits}.sst` : `${digits}.ldb`;
}

function isUnchanged(files: Files, path: string, found: StoreFiles): boolean {
  const current = files.readSync(`${path}/CURRENT`, 0, 64).toString("latin1").trimEnd();
  const size = files.sizeSync(`${path}/${found.manifest}`);
  return current === found.manifest && size === found.manifestBytes.length;
}

class LevelCopy implements StoreCopy {
  readonly files: readonly StoreFile[];
  private readonly inMemory: ReadonlyMap<string, Buffer>;
  private readonly store: Files;
  private readonly links: string;
  private open: { readonly name: string; readonly fd: number } | null = null;

  constructor(store: Files, links: string, found: StoreFiles, linked: readonly StoreFile[]) {
    this.store = store;
    this.links = links;
    this.inMemory = new Map([
      [found.manifest, found.manifestBytes],
      ["CURRENT", Buffer.from(`${found.manifest}\n`)],
    ]);
    const small = [...this.inMemory].map(([name, { length }]) => ({ name, bytes: length }));
    this.files = [...linked, ...small];
  }

  read({ name, bytes }: StoreFile, at: number, size: number): Promise<Buffer> {
    const length = Math.min(size, bytes - at);
    const held = this.inMemory.get(name);
    if (held) return Promise.resolve(held.subarray(at, at + length));
    const fd = this.fileOf(name);
    return new Promise((resolve, reject) => {
      const out = Buffer.allocUnsafe(length);
      readFd(fd, out, 0, length, at, (error, count) => {
        if (error === null && count === length) resolve(out);
        else reject(new StorageError("io", `${name}: ${error ?? `${count} of ${length} bytes`}`));
      });
    });
  }

  private fileOf(name: string): number {
    if (this.open?.name !== name) {
      this.closeFile();
      this.open = { name, fd: openSync(`${this.links}/${name}`, "r") };
    }
    return this.open.fd;
  }

  private closeFile(): void {
    if (this.open) closeSync(this.open.fd);
    this.open = null;
  }

  close(): void {
    this.closeFile();
    this.store.removeSync(this.links);
  }
}

class LevelInstall implements StoreInstall {
  private readonly files: Files;
  private readonly path: string;
  private open: { readonly name: string; readonly fd: number; at: number } | null = null;
  private written = new Set<string>();

  constructor(files: Files, path: string) {
    this.files = files;
    this.path = path;
    files.removeSync(path);
    files.makeDirectorySync(path);
  }

  async write({ name }: StoreFile, bytes: Buffer): Promise<void> {
    const file = await this.fileOf(name);
    const { at } = file;
    file.at += bytes.length;
    await new Promise<void>((resolve, reject) => {
      writeFd(file.fd, bytes, 0, bytes.length, at, (error, count) => {
        if (error === null && count === bytes.length) resolve();
        else reject(new StorageError("io", `${name}: ${error ?? `${count} bytes written`}`));
      });
    });
  }

  private async fileOf(name: string): Promise<{ readonly fd: number; at: number }> {
    if (this.open?.name === name) return this.open;
    // The name comes from another node.
    assert(/^(\d+\.(ldb|sst|log)|MANIFEST-\d+|CURRENT)$/.test(name), "a store's file", name);
    assert(!this.written.has(name), "a file's bytes come together", name);
    this.written.add(name);
    await this.closeFile();
    this.open = { name, fd: openSync(`${this.path}/${name}`, "wx", fileMode), at: 0 };
    return this.open;
  }

  /** Some tens of ms of the disk, in which the node goes on. */
  private async closeFile(): Promise<void> {
    const { open } = this;
    if (!open) return;
    await new Promise<void>((resolve, reject) => {
      fsyncFd(open.fd, (error) => {
        if (error === null) resolve();
        else reject(new StorageError("io", `${open.name}: ${error}`));
      });
    });
    closeSync(open.fd);
    this.open = null;
  }

  async finish(): Promise<void> {
    await this.closeFile();
    this.files.syncDirectorySync(this.path);
  }

  discard(): void {
    if (this.open) closeSync(this.open.fd);
    this.open = null;
    this.files.removeSync(this.path);
  }
}
