/** A shard's directory as its replica sees it: the store in force and the one that may follow it. */
import { generationPath, readCurrent, writeCurrent } from "../storage/current-file.ts";
import { createFenceFile } from "../storage/fence-file.ts";
import type { Files } from "../storage/files.ts";
import type { GroupCommit } from "../storage/group-commit.ts";
import type { Kv } from "../storage/kv.ts";
import { createVoteFile } from "../storage/vote-file.ts";
import type { ReplicaStores } from "./replica.ts";

export interface ReplicaStoresDeps {
  readonly files: Files;
  /** The shard's directory. */
  readonly path: string;
  /** Opens the store in a directory, after whatever checks its files need. */
  readonly openKv: (path: string) => Promise<Kv>;
  readonly createCommit: (kv: Kv) => GroupCommit;
  readonly hasSpace: (bytes: number) => boolean;
}

export function createReplicaStores(deps: ReplicaStoresDeps): ReplicaStores {
  const { files, path } = deps;
  const nextPath = () => generationPath(path, readCurrent(files, path) + 1);
  return {
    async open() {
      const kvPath = generationPath(path, readCurrent(files, path));
      removeOthers(files, path, kvPath);
      const kv = await deps.openKv(kvPath);
      return {
        kv,
        commit: deps.createCommit(kv),
        vote: createVoteFile(files, path),
        fence: createFenceFile(files, path),
        path: kvPath,
      };
    },
    openAt: (at) => deps.openKv(at),
    nextPath,
    switchToNext() {
      files.syncDirectorySync(nextPath());
      files.syncDirectorySync(path);
      writeCurrent(files, path, readCurrent(files, path) + 1);
    },
    hasSpace: deps.hasSpace,
  };
}

/** What a replacement or a copy that was cut short has left, and stores that were replaced. */
function removeOthers(files: Files, path: string, kvPath: string): void {
  for (const name of files.listSync(path)) {
    const other = `${path}/${name}`;
    if (/^db-\d+(\.copy-\d+)?$/.test(name) && other !== kvPath) files.removeSync(other);
  }
}
