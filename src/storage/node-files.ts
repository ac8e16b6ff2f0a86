/** The Files port on a real filesystem. */
import {
  closeSync,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  write as writeFd,
  writeSync as writeFdSync,
} from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Files, FilesystemFacts, SlotFileHandle } from "./files.ts";
import { StorageError } from "./kv.ts";

const fileMode = 0o600;
const directoryMode = 0o700;

export function createNodeFiles(): Files {
  return {
    existsSync,
    listSync: (path) => attempt(path, () => readdirSync(path).sort()),
    makeDirectorySync: (path) => attempt(path, () => makeDirectory(path)),
    removeSync: (path) => attempt(path, () => rmSync(path, { recursive: true, force: true })),
    sizeSync: (path) => attempt(path, () => statSync(path).size),
    readSync: (path, at, size) =>
      attempt(path, () => withFile(path, "r", (fd) => readFully(fd, at, size))),
    writeSync: (path, bytes) => attempt(path, () => writeWhole(path, bytes)),
    renameSync: (from, to) => attempt(from, () => renameSync(from, to)),
    syncDirectorySync: (path) => attempt(path, () => withFile(path, "r", fsyncSync)),
    openSync: (path) => attempt(path, () => new NodeSlotFile(path, openSync(path, "r+"))),
    filesystemSync: (path) => attempt(path, () => filesystem(path)),
  };
}

/** Bytes of the files in a directory, those not counted that vanish meanwhile. */
export async function directoryBytes(path: string): Promise<number> {
  let bytes = 0;
  try {
    for (const name of await readdir(path)) {
      bytes += await stat(join(path, name)).then((facts) => facts.size, zeroIfMissing);
    }
  } catch (error) {
    throw storageError(path, error);
  }
  return bytes;
}

class NodeSlotFile implements SlotFileHandle {
  readonly #path: string;
  readonly #fd: number;

  constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  readSync(at: number, size: number): Buffer {
    return attempt(this.#path, () => readFully(this.#fd, at, size));
  }

  write(at: number, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      writeFd(this.#fd, bytes, 0, bytes.length, at, (error, written) => {
        if (error !== null || written !== bytes.length) {
          reject(storageError(this.#path, error ?? `${written} of ${bytes.length} bytes written`));
          return;
        }
        // The file keeps its size, so its data is all there is to sync.
        fdatasync(this.#fd, (failed) => {
          if (failed === null || failed === undefined) resolve();
          else reject(storageError(this.#path, failed));
        });
      });
    });
  }

  writeSync(at: number, bytes: Uint8Array): void {
    attempt(this.#path, () => {
      writeFully(this.#fd, bytes, at);
      fdatasyncSync(this.#fd);
    });
  }

  closeSync(): void {
    attempt(this.#path, () => closeSync(this.#fd));
  }
}

function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  mkdirSync(path, { mode: directoryMode });
  withFile(dirname(path), "r", fsyncSync);
}

function writeWhole(path: string, bytes: Uint8Array): void {
  withFile(path, "w", (fd) => {
    writeFully(fd, bytes, 0);
    fsyncSync(fd);
  });
}

function withFile<T>(path: string, flags: string, use: (fd: number) => T): T {
  const fd = openSync(path, flags, fileMode);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function readFully(fd: number, at: number, size: number): Buffer {
  const out = Buffer.alloc(size);
  let length = 0;
  while (length < size) {
    const more = readSync(fd, out, length, size - length, at + length);
    if (more === 0) break;
    length += more;
  }
  return out.subarray(0, length);
}

function writeFully(fd: number, bytes: Uint8Array, at: number): void {
  const written = writeFdSync(fd, bytes, 0, bytes.length, at);
  if (written !== bytes.length) throw new Error(`${written} of ${bytes.length} bytes written`);
}

function filesystem(path: string): FilesystemFacts {
  const facts = statfsSync(path);
  return {
    type: facts.type >>> 0,
    totalBytes: facts.blocks * facts.bsize,
    freeBytes: facts.bavail * facts.bsize,
  };
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw storageError(path, error);
  }
}

function zeroIfMissing(error: unknown): number {
  if (isMissing(error)) return 0;
  throw error;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function storageError(path: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  return new StorageError(isMissing(error) ? "missing" : "io", `${path}: ${String(error)}`, error);
}
