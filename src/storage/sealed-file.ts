/**
 * A small file that is written whole and replaced whole, never in place: a line with what it is,
 * its version and its checksum, then JSON that a person can read too.
 *
 *     quorumq-header 1 1a2b3c4d
 *     {"clusterId":"…"}
 *
 * The checksum (CRC32C, hex) covers the name, the version and the text below the line.
 */
import { crc32c } from "../base/crc32c.ts";
import { limits } from "../base/limits.ts";
import { type Files, replaceFileSync } from "./files.ts";
import { StorageError } from "./kv.ts";

/** Writes `directory/name` with fsync and rename, and syncs the directory. */
export function writeSealedFile(
  files: Files,
  directory: string,
  name: string,
  version: number,
  content: unknown,
): void {
  const text = JSON.stringify(content);
  const title = `quorumq-${name} ${version}`;
  const bytes = Buffer.from(`${title} ${checksum(title, text)}\n${text}\n`);
  replaceFileSync(files, directory, name, bytes);
}

/**
 * The content of `directory/name`, its checksum verified, its fields not.
 * @param version - the highest that is understood
 * @throws StorageError missing, corrupt, newer_format, io
 */
export function readSealedFile(
  files: Files,
  directory: string,
  name: string,
  version: number,
): unknown {
  const path = `${directory}/${name}`;
  const file = files.readSync(path, 0, limits.sealedFileBytes).toString("utf8");
  const match = /^(quorumq-([a-z]+) (\d{1,6})) ([0-9a-f]{8})\n([^\n]*)\n$/.exec(file);
  if (match === null) throw new StorageError("corrupt", `${path} is not a file of QuorumQ`);
  const [, title = "", kind, found = "", sum, text = ""] = match;
  if (kind !== name || checksum(title, text) !== sum) {
    throw new StorageError("corrupt", `${path} fails its checksum`);
  }
  if (Number(found) > version) {
    throw new StorageError("newer_format", `${path}: version ${found}, known: ${version}`);
  }
  return JSON.parse(text) as unknown;
}

function checksum(title: string, text: string): string {
  return crc32c(Buffer.from(`${title}\n${text}`))
    .toString(16)
    .padStart(8, "0");
}
