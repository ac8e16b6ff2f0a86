/**
 * Which generation of a shard's store is in force: `current` names the directory
 * db-<generation>. A store that is received whole is built in a new generation beside the old one
 * and comes into force by replacing this file.
 */
import { assert } from "../base/assert.ts";
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";
import { readSealedFile, writeSealedFile } from "./sealed-file.ts";

const version = 1;
const generationMax = 1_000_000_000;

/** @param generation - 1 or more */
export function writeCurrent(files: Files, directory: string, generation: number): void {
  assert(isGeneration(generation), "generation", generation);
  writeSealedFile(files, directory, "current", version, { generation });
}

/**
 * The generation in force.
 * @throws StorageError missing, corrupt, newer_format, io
 */
export function readCurrent(files: Files, directory: string): number {
  const content = readSealedFile(files, directory, "current", version);
  if (typeof content === "object" && content !== null && "generation" in content) {
    if (isGeneration(content.generation)) return content.generation;
  }
  throw new StorageError("corrupt", `${directory}/current names no generation`);
}

/** The directory of a generation's store. */
export function generationPath(directory: string, generation: number): string {
  return `${directory}/db-${generation}`;
}

function isGeneration(value: unknown): value is number {
  return (
    typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= generationMax
  );
}
