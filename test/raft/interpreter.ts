/**
 * Runs transcripts against the core: quorum arithmetic, membership arithmetic, and small clusters
 * driven by hand. What a file needs follows from its commands.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoreId } from "../../src/base/brand.ts";
import {
  type ChangeResult,
  type Configuration,
  emptyMembership,
  enterJoint,
  leaveJoint,
  simple,
} from "../../src/raft/conf-change.ts";
import { jointCommittedIndex, jointVoteResult } from "../../src/raft/quorum.ts";
import { runBlock } from "./commands.ts";
import {
  argValues,
  type Block,
  CommandError,
  idsOf,
  parseBlocks,
  rewriteExpected,
  toNumber,
} from "./datadriven.ts";
import { describeMembership, describeProgress, parseChanges } from "./describe.ts";
import { Environment } from "./environment.ts";

/** Runs one block and says what came out. */
type Runner = (block: Block) => string[];
/** Whether an output is what the file wants. */
type Matcher = (expected: readonly string[], actual: readonly string[]) => boolean;

export interface FileResult {
  readonly file: string;
  /** The first difference, for a person; "" if there is none. */
  readonly failure: string;
}

/** All files under `folder`, sorted; throws if the folder is missing. */
export function findCases(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory() && entry.name.endsWith(".txt"))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Runs a file up to its first difference. With `update`, writes what came out into it instead. */
export function runCase(file: string, update = false): FileResult {
  const text = readFileSync(file, "utf8");
  const outputs = new Map<Block, string[]>();
  try {
    const blocks = parseBlocks(text);
    if (blocks.length === 0) return { file, failure: "no block in the file" };
    const { run, matches } = chooseRunner(blocks);
    for (const block of blocks) {
      const actual = run(block);
      outputs.set(block, actual);
      if (update || matches(block.expected, actual)) continue;
      return { file, failure: describeDifference(block, actual) };
    }
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { file, failure: `after ${outputs.size} blocks: ${text}` };
  }
  if (update) writeFileSync(file, rewriteExpected(text, outputs));
  return { file, failure: "" };
}

function chooseRunner(blocks: readonly Block[]): { run: Runner; matches: Matcher } {
  const commands = new Set(blocks.map((block) => block.command));
  if (commands.has("committed") || commands.has("vote")) {
    return { run: runQuorum, matches: lastLineMatches };
  }
  if (commands.has("simple") || commands.has("enter-joint") || commands.has("leave-joint")) {
    return { run: createConfChangeRunner(), matches: configurationMatches };
  }
  const environment = new Environment();
  return { run: (block) => runBlock(environment, block), matches: linesMatch };
}

/** Log lines and the word for an empty output say nothing. */
function essential(lines: readonly string[]): string[] {
  const kept = lines.filter((line) => !/^\s*(DEBUG|INFO|WARN|ERROR)\b/.test(line));
  return kept.length === 1 && /^ok( \(quiet\))?$/.test(kept[0] ?? "") ? [] : kept;
}

function linesMatch(expected: readonly string[], actual: readonly string[]): boolean {
  return essential(expected).join("\n") === essential(actual).join("\n");
}

/** The drawing above the result is not compared. */
function lastLineMatches(expected: readonly string[], actual: readonly string[]): boolean {
  const wanted = expected[expected.length - 1] ?? "";
  if (wanted.startsWith("error: ")) return (actual[0] ?? "").startsWith("error: ");
  return wanted.replace(/^<empty majority quorum>/, "") === actual[actual.length - 1];
}

/** An expected line that is neither configuration nor progress is an error in other words. */
function configurationMatches(expected: readonly string[], actual: readonly string[]): boolean {
  if (expected.every((line) => /^(voters=|\d+: )/.test(line))) return linesMatch(expected, actual);
  return actual.length === 1 && (actual[0] ?? "").startsWith("error: ");
}

function describeDifference(block: Block, actual: readonly string[]): string {
  const head = `line ${block.line}: ${block.command}`;
  const wanted = essential(block.expected);
  const got = essential(actual);
  let at = 0;
  while (at < wanted.length && wanted[at] === got[at]) at++;
  const show = (line: string | undefined): string => (line === undefined ? "<end>" : line);
  const before = wanted.slice(Math.max(0, at - 3), at).map((line) => `    ${line}`);
  return [head, ...before, `  - ${show(wanted[at])}`, `  + ${show(got[at])}`].join("\n");
}

function runQuorum(block: Block): string[] {
  const ids = idsOf(block.args, "cfg");
  const isZero = argValues(block.args, "cfgj")?.[0] === "zero";
  const idsJoint = isZero ? [] : idsOf(block.args, "cfgj");
  const all = [...new Set([...ids, ...idsJoint])];
  const given = argValues(block.args, block.command === "vote" ? "votes" : "idx") ?? [];
  if (given.length !== all.length) return [`error: ${all.length} voters, ${given.length} inputs`];
  if (block.command === "vote") {
    const voteOf = (id: StoreId): boolean | undefined => {
      const vote = given[all.indexOf(id)];
      return vote === "y" ? true : vote === "n" ? false : undefined;
    };
    const result = jointVoteResult(ids, idsJoint, voteOf);
    return [{ won: "VoteWon", lost: "VoteLost", pending: "VotePending" }[result]];
  }
  const ackOf = (id: StoreId): number | undefined => {
    const text = given[all.indexOf(id)];
    return text === undefined || text === "_" ? undefined : toNumber(text);
  };
  const index = jointCommittedIndex(ids, idsJoint, ackOf);
  return [index === Number.POSITIVE_INFINITY ? "∞" : String(index)];
}

/** Every command happens one log index later than the last. */
function createConfChangeRunner(): Runner {
  let configuration: Configuration = { membership: emptyMembership, progress: new Map() };
  let lastIndex = 0;
  return (block) => {
    const options = { lastIndex, maxInflightMsgs: 10, maxInflightBytes: Number.POSITIVE_INFINITY };
    lastIndex++;
    const change = (): ChangeResult => {
      const changes = parseChanges(block.input.join(" "));
      if (block.command === "simple") return simple(configuration, changes, options);
      if (block.command === "leave-joint") {
        if (changes.length > 0) throw new CommandError("this command takes no input");
        return leaveJoint(configuration);
      }
      if (block.command !== "enter-joint") throw new CommandError("unknown command");
      const autoLeave = argValues(block.args, "autoleave")?.[0] === "true";
      return enterJoint(configuration, changes, autoLeave, options);
    };
    const result = changeOrError(change);
    if (result.kind === "refused") return [`error: ${result.reason}`];
    ({ configuration } = result);
    const members = [...configuration.progress].map(([id, each]) =>
      describeProgress(each.status(id)),
    );
    return [describeMembership(configuration.membership), ...members];
  };
}

function changeOrError(change: () => ChangeResult): ChangeResult {
  try {
    return change();
  } catch (error) {
    if (error instanceof CommandError) return { kind: "refused", reason: error.message };
    throw error;
  }
}
