/** Files and standard input as the commands take them: bounded, and with errors that say which. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { limits } from "../base/limits.ts";
import { CliError, cliExitCodes, dataError } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

/** The largest payload that any server takes. */
const payloadBytesMax = limits.payloadBytesMax;
const tokenBytesMax = 8192;

/**
 * A whole file, or standard input for "-".
 * @throws CliError noInput, data
 */
export async function readInput(terminal: Terminal, path: string): Promise<Buffer> {
  return path === "-" ? readStream(terminal.stdin) : readFileBounded(path, payloadBytesMax);
}

/** A token's text from a file, or from standard input for "-"; line ends are not part of it. */
export async function readToken(terminal: Terminal, path: string): Promise<string> {
  const bytes =
    path === "-" ? await readStream(terminal.stdin) : readFileBounded(path, tokenBytesMax);
  const token = bytes.toString("utf8").trim();
  if (token === "" || bytes.length > tokenBytesMax) {
    throw new CliError(cliExitCodes.config, "config", `${path}: no token in it`);
  }
  return token;
}

async function readStream(stream: NodeJS.ReadStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > payloadBytesMax) throw tooLarge("standard input");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function readFileBounded(path: string, bytesMax: number): Buffer {
  let file: number | null = null;
  try {
    file = openSync(path, "r");
    const stats = fstatSync(file);
    if (stats.isDirectory()) throw noInput(`${path}: is a directory`);
    if (stats.size > bytesMax) throw tooLarge(path);
    // one byte more than allowed: a pipe or a growing file has no size to go by
    const buffer = Buffer.alloc(bytesMax + 1);
    let length = 0;
    for (;;) {
      const count = readSync(file, buffer, length, buffer.length - length, null);
      if (count === 0) return Buffer.from(buffer.subarray(0, length));
      length += count;
      if (length > bytesMax) throw tooLarge(path);
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw noInput(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    if (file !== null) closeSync(file);
  }
}

function tooLarge(what: string): CliError {
  return new CliError(
    cliExitCodes.data,
    "payload_too_large",
    `${what}: over ${payloadBytesMax} bytes`,
  );
}

function noInput(text: string): CliError {
  return new CliError(cliExitCodes.noInput, "no_input", text);
}

/**
 * The bytes of a text that is JSON, as they were given: numbers keep their digits.
 * @throws CliError data
 */
export function jsonBytes(text: string, what: string): Buffer {
  try {
    JSON.parse(text);
  } catch {
    throw dataError(`${what}: not JSON; text needs quotes inside the shell's: '"text"', or --raw`);
  }
  return Buffer.from(text.trim());
}
