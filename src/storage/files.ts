/**
 * The port to the small files beside the store: header, vote, fence, current. They are written
 * rarely and must survive a power cut, so everything that can be synced says so in its name.
 *
 * Two implementations, node-files.ts and test/sim/memory-files.ts, under one contract suite
 * (test/contract/files-suite.ts). Every method throws StorageError `io` when the disk fails, and
 * `missing` where a file that the call needs is not there; what else can happen is said beside it.
 * Files are made with mode 0600, directories with 0700.
 */

/** What kind of filesystem a directory lies on, and how much room it has. */
export interface FilesystemFacts {
  /** The magic number of the filesystem (statfs(2) f_type). */
  readonly type: number;
  readonly totalBytes: number;
  /** Bytes that an ordinary user may still write. */
  readonly freeBytes: number;
}

/** An open file of fixed size that is rewritten in place. */
export interface SlotFileHandle {
  /** Up to `size` bytes from `at`; fewer at the end of the file. */
  readSync(at: number, size: number): Buffer;
  /**
   * Writes and syncs. After a failure the outcome is unknown: the caller must not go on.
   * @throws StorageError io
   */
  write(at: number, bytes: Uint8Array): Promise<void>;
  writeSync(at: number, bytes: Uint8Array): void;
  closeSync(): void;
}

export interface Files {
  /** Whether a file or directory of that name is there. */
  existsSync(path: string): boolean;
  /** Names in a directory, sorted by code unit. */
  listSync(path: string): string[];
  /** Makes one directory and syncs its parent. Nothing happens if it is there. */
  makeDirectorySync(path: string): void;
  /** Removes a directory with all that is in it, or a file. Nothing happens if it is not there. */
  removeSync(path: string): void;
  /** Bytes of a file. */
  sizeSync(path: string): number;
  /** Up to `size` bytes of a file from `at`. */
  readSync(path: string, at: number, size: number): Buffer;
  /** Writes a whole file and syncs it; its name is durable only after syncDirectorySync. */
  writeSync(path: string, bytes: Uint8Array): void;
  /** Renames a file or directory over what is there; durable only after syncDirectorySync. */
  renameSync(from: string, to: string): void;
  syncDirectorySync(path: string): void;
  /** Opens a file for rewriting in place. */
  openSync(path: string): SlotFileHandle;
  filesystemSync(path: string): FilesystemFacts;
}

/** Puts a whole new content in the place of a file, so that a crash leaves the old or the new. */
export function replaceFileSync(
  files: Files,
  directory: string,
  name: string,
  bytes: Uint8Array,
): void {
  const temporary = `${directory}/${name}.tmp`;
  files.writeSync(temporary, bytes);
  files.renameSync(temporary, `${directory}/${name}`);
  files.syncDirectorySync(directory);
}
