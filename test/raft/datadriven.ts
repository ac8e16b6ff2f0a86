/**
 * Test files of blocks: `command args`, input lines, `----`, expected output up to an empty line;
 * a second `----` opens and closes an output that holds empty lines. `#` starts a comment.
 */
import { type StoreId, toStoreId } from "../../src/base/brand.ts";

/** A command cannot be carried out: its text is output, even where nothing else is. */
export class CommandError extends Error {}

export interface Block {
  /** 1-based, of the command. */
  readonly line: number;
  readonly command: string;
  readonly args: readonly Arg[];
  readonly input: readonly string[];
  readonly expected: readonly string[];
  /** Line indexes (0-based, end excluded) of the expected output in the file. */
  readonly expectedFrom: number;
  readonly expectedTo: number;
}

/** `key`, `key=value` or `key=(a,b)`. */
export interface Arg {
  readonly key: string;
  readonly values: readonly string[];
}

export function parseBlocks(text: string): Block[] {
  const lines = text.split("\n");
  const blocks: Block[] = [];
  let at = 0;
  while (at < lines.length) {
    const head = (lines[at] ?? "").trim();
    // Parts of a test have names, which say nothing about what comes out.
    if (head === "" || head.startsWith("#") || /^subtest\b/.test(head)) {
      at++;
      continue;
    }
    const line = at + 1;
    let directive = head;
    while (directive.endsWith("\\")) {
      directive = directive.slice(0, -1) + (lines[++at] ?? "").trim();
    }
    at++;
    const input: string[] = [];
    while (at < lines.length && lines[at] !== "----") input.push(lines[at++] ?? "");
    if (at >= lines.length) throw new Error(`line ${line}: no ---- after ${head}`);
    at++;
    const isWrapped = lines[at] === "----";
    if (isWrapped) at++;
    const expectedFrom = at;
    while (at < lines.length) {
      if (isWrapped ? lines[at] === "----" && lines[at + 1] === "----" : lines[at] === "") break;
      at++;
    }
    const expected = lines.slice(expectedFrom, at);
    const expectedTo = at;
    if (isWrapped) at += 2;
    const parsed = parseDirective(directive);
    blocks.push({ line, ...parsed, input, expected, expectedFrom, expectedTo });
  }
  return blocks;
}

export function parseDirective(directive: string): Pick<Block, "command" | "args"> {
  const [command = "", ...rest] = splitWords(directive);
  return { command, args: rest.map(parseArg) };
}

/** Words are separated by blanks outside parentheses. */
function splitWords(directive: string): string[] {
  return directive.match(/[^\s(]+\([^)]*\)|\S+/g) ?? [];
}

function parseArg(word: string): Arg {
  const equals = word.indexOf("=");
  if (equals < 0) return { key: word, values: [] };
  const value = word.slice(equals + 1);
  const inner = value.startsWith("(") ? value.slice(1, -1) : value;
  const values = inner
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  return { key: word.slice(0, equals), values };
}

/** Values of `key=…`, or undefined without it. */
export function argValues(args: readonly Arg[], key: string): readonly string[] | undefined {
  return args.find((arg) => arg.key === key && arg.values.length > 0)?.values;
}

/** The ids of `key=(1,2)`. */
export function idsOf(args: readonly Arg[], key: string): StoreId[] {
  return (argValues(args, key) ?? []).map((value) => toStoreId(toNumber(value)));
}

export function toNumber(text: string): number {
  const value = Number(text);
  if (text === "" || !Number.isSafeInteger(value)) throw new Error(`not a number: ${text}`);
  return value;
}

/** The file with other expectations. */
export function rewriteExpected(text: string, outputs: ReadonlyMap<Block, string[]>): string {
  const lines = text.split("\n");
  for (const [block, output] of [...outputs].reverse()) {
    lines.splice(block.expectedFrom, block.expectedTo - block.expectedFrom, ...output);
  }
  return lines.join("\n");
}
