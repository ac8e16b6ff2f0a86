/**
 * The port to a store's files as a stream: a copy of a live store as it was between two batches, and
 * a store built from such a stream. For followers that need the whole state, and for backups.
 *
 * Two implementations, level-store-copy.ts and the simulator's.
 */

export interface StoreFile {
  readonly name: string;
  readonly bytes: number;
}

/** The store as it was when the copy was made. It goes on living; the copy does not change. */
export interface StoreCopy {
  readonly files: readonly StoreFile[];
  /** Bytes of a file, from `at`; fewer at its end. @throws StorageError io */
  read(file: StoreFile, at: number, size: number): Promise<Buffer>;
  /** Gives the copy up. */
  close(): void;
}

/** A store in the making, in a directory of its own. */
export interface StoreInstall {
  /** Writes the next bytes of a file; files come in any order, the bytes of each one in theirs. */
  write(file: StoreFile, bytes: Buffer): Promise<void>;
  /** Syncs everything: from now on the directory can be opened as a store. */
  finish(): Promise<void>;
  /** Removes what was written. */
  discard(): void;
}

export interface StoreCopier {
  /**
   * Copies the store at `path`. To be called while no write of it is under way.
   * @throws StorageError io
   */
  copy(path: string): StoreCopy;
  /** Begins a store at `path`; what is there is removed. @throws StorageError io */
  install(path: string): StoreInstall;
}
