/**
 * The fence of one shard's replica: the highest log position that was synced when it was last
 * written, at most a second ago. A store whose log ends before the fence has lost durable entries
 * without a trace (its newest log file, say), which no checksum can see (FAULTS S6): such a replica
 * must neither vote nor acknowledge.
 */
import { type LogIndex, type Term, toLogIndex, toTerm } from "../base/brand.ts";
import type { Files } from "./files.ts";
import { createSlotFile, openSlotFile, type SlotFormat } from "./slot-file.ts";

const format: SlotFormat = { name: "fence", magic: 0x5146_4e43, fields: 2 };

export interface Fence {
  /** Term of the entry at `index`; 0 for an empty log. */
  readonly term: Term;
  /** Last synced index of the log; 0 = none. */
  readonly index: LogIndex;
}

export interface FenceFile {
  load(): Fence;
  /**
   * Resolves when the fence is durable. Call it for synced entries only, one call at a time, at
   * most once a second and at shutdown. The index may fall when the term rises: a follower's log
   * is cut where the new leader's differs.
   * @throws StorageError io
   */
  save(fence: Fence): Promise<void>;
  saveSync(fence: Fence): void;
  closeSync(): void;
}

/**
 * Makes the fence of a new shard directory: an empty log. Sync the directory afterwards.
 * @param last - of a log that takes the place of another one
 */
export function initFenceFile(
  files: Files,
  directory: string,
  last: { readonly term: number; readonly index: number } = { term: 0, index: 0 },
): void {
  createSlotFile(files, fencePath(directory), format, [last.term, last.index]);
}

/**
 * Opens the fence of a shard directory.
 * @throws StorageError missing, corrupt, newer_format, io
 */
export function createFenceFile(files: Files, directory: string): FenceFile {
  const slots = openSlotFile(files, fencePath(directory), format);
  return {
    load() {
      const [term, index] = slots.values as readonly [number, number];
      return { term: toTerm(term), index: toLogIndex(index) };
    },
    save: (fence) => slots.save([fence.term, fence.index]),
    saveSync: (fence) => slots.saveSync([fence.term, fence.index]),
    closeSync: () => slots.closeSync(),
  };
}

/**
 * Whether a recovered log holds at least what the fence promises. A log that was truncated and
 * rewritten in a later term may be shorter, so the last term counts first.
 */
export function holdsFence(fence: Fence, lastTerm: Term, lastIndex: LogIndex): boolean {
  return lastTerm > fence.term || (lastTerm === fence.term && lastIndex >= fence.index);
}

function fencePath(directory: string): string {
  return `${directory}/fence`;
}
