/** What lies on a node's disk, read past its process. */
import type { ShardId } from "../../../src/base/brand.ts";
import {
  decodeEntry,
  decodeLogStart,
  entryKey,
  logStartKey,
} from "../../../src/shard/log-store.ts";
import { readRecord } from "../../../src/storage/record.ts";
import { createVoteFile, type Vote } from "../../../src/storage/vote-file.ts";
import { createMemoryFiles } from "../memory-files.ts";
import { root, type SimNode } from "./sim-node.ts";

/** Whether an entry is there, or the state that it led to. @param term - undefined: of any term */
export function isStored(node: SimNode, shard: ShardId, index: number, term?: number): boolean {
  const { rows } = node.disk.store(node.storePath(shard));
  const record = rows.get(entryKey(index).toString("latin1"));
  if (record) {
    const { term: found } = decodeEntry(index, readRecord(entryKey(index), record));
    return term === undefined || term === found;
  }
  const start = rows.get(logStartKey.toString("latin1"));
  return !!start && decodeLogStart(readRecord(logStartKey, start)).cutIndex >= index;
}

export function storedVote(node: SimNode, shard: ShardId): Vote {
  const file = createVoteFile(createMemoryFiles(node.disk), `${root}/shard-${shard}`);
  const vote = file.load();
  file.closeSync();
  return vote;
}
