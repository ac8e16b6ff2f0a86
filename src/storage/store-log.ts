/**
 * Reads LevelDB's own LOG. When a log file is damaged LevelDB opens all the same, leaves entries
 * out of the middle and only says so in this text (FAULTS F1): such a store has lost durable data.
 */
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";

const chunkBytes = 64 * 1024;
/** Lines are cut at chunk ends; what is looked for is shorter than this. */
const overlapBytes = 64;
/** LOG starts anew at each open; the one before stays as LOG.old, whatever its size. */
const names = ["LOG", "LOG.old"] as const;
const damage = /\(ignoring error\)|dropping \d+ bytes/;

/**
 * Looks for traces of lost data. Call it after the store was opened: recovery writes them.
 * @param path - directory of the store
 * @throws StorageError corrupt, with the line; io
 */
export function checkStoreLog(files: Files, path: string): void {
  for (const name of names) {
    const file = `${path}/${name}`;
    if (files.existsSync(file)) scan(files, file);
  }
}

function scan(files: Files, path: string): void {
  for (let at = 0; ; at += chunkBytes) {
    const chunk = files.readSync(path, at, chunkBytes + overlapBytes);
    const text = chunk.toString("latin1");
    const match = damage.exec(text);
    if (match !== null) {
      throw new StorageError("corrupt", `${path} says: ${lineAround(text, match.index)}`);
    }
    if (chunk.length < chunkBytes + overlapBytes) return;
  }
}

function lineAround(text: string, at: number): string {
  const from = text.lastIndexOf("\n", at) + 1;
  const end = text.indexOf("\n", at);
  return text.slice(from, end < 0 ? text.length : end);
}
