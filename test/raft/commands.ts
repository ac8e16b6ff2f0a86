/** The commands of the interaction transcripts, and what their arguments mean. */
import { present } from "../../src/base/assert.ts";
import { type LogIndex, toStoreId } from "../../src/base/brand.ts";
import type { ConfChange } from "../../src/raft/types.ts";
import {
  type Arg,
  argValues,
  type Block,
  CommandError,
  idsOf,
  parseDirective,
  toNumber,
} from "./datadriven.ts";
import { isMessageTypeName, parseChanges } from "./describe.ts";
import type { Environment, Fate } from "./environment.ts";

/** @param numbers - those that stand alone, in order: ids of nodes, indexes */
type Handler = (env: Environment, args: readonly Arg[], numbers: readonly number[]) => void;

const logLevels = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"];

const handlers: Readonly<Record<string, Handler>> = {
  _breakpoint: () => undefined,
  "log-level": (env, args) => env.setQuiet(isQuietLevel(args[0]?.key ?? "")),
  "add-nodes": (env, args, [count]) => env.addNodes(given(count), args),
  campaign: (env, _, [id]) => env.node(given(id)).campaign(),
  propose: (env, args, [id]) => env.propose(given(id), Buffer.from(args[1]?.key ?? "")),
  "tick-heartbeat": (env, _, [id]) => env.tick(given(id), "heartbeatTicks"),
  "tick-election": (env, _, [id]) => env.tick(given(id), "electionTicks"),
  "deliver-msgs": deliverMessages,
  stabilize,
  "process-ready": (env, _, ids) =>
    env.forEach(ids, "handling Ready", (id) => env.processReady(id)),
  "process-append-thread": (env, _, ids) =>
    env.forEach(ids, "processing append thread", (id) => env.processAppend(id)),
  "process-apply-thread": (env, _, ids) =>
    env.forEach(ids, "processing apply thread", (id) => env.processApply(id)),
  "raft-log": (env, _, [id]) => env.showLog(given(id)),
  "raft-state": (env) => env.showRoles(),
  status: (env, _, [id]) => env.showProgress(given(id)),
  compact: (env, _, [id, index]) => env.compact(given(id), given(index) as LogIndex),
  "transfer-leadership": (env, args) =>
    env.node(named(args, "from")).transferLeadership(toStoreId(named(args, "to"))),
  "forget-leader": (env, _, [id]) => env.node(given(id)).forgetLeader(),
  "report-unreachable": (env, _, [id, other]) =>
    env.node(given(id)).reportUnreachable(toStoreId(given(other))),
  "send-snapshot": (env, _, [from, to]) => env.sendSnapshot(given(from), given(to)),
  "set-randomized-election-timeout": (env, args, [id]) =>
    env.node(given(id)).setElectionTimeout(named(args, "timeout")),
  // What follows is ours alone.
  "report-snapshot": (env, args, [id, other]) =>
    env.node(given(id)).reportSnapshot(toStoreId(given(other)), args[2]?.key !== "failed"),
  "read-index": (env, _, [id, requestId]) => env.readIndex(given(id), given(requestId)),
  restart: (env, _, [id]) => env.restart(given(id)),
  /** Nothing passes between the first and the others, both ways, until `heal`. */
  cut: (env, _, [id, ...others]) => env.cut(given(id), others),
  heal: (env) => env.heal(),
};

/** Runs a block: the command, and one more for every line of its input. */
export function runBlock(env: Environment, block: Block): string[] {
  return env.collect(() => {
    if (block.command === "propose-conf-change") {
      proposeConfChange(env, block);
      return;
    }
    runCommand(env, block.command, block.args);
    for (const line of block.input) {
      const { command, args } = parseDirective(line);
      try {
        runCommand(env, command, args);
      } catch (error) {
        // The next one runs all the same, unless nobody would see this.
        if (!(error instanceof CommandError) || env.isQuiet) throw error;
        env.print(error.message);
      }
    }
  });
}

function runCommand(env: Environment, command: string, args: readonly Arg[]): void {
  const handler = handlers[command];
  if (handler === undefined) throw new CommandError("unknown command");
  const numbers = args.filter((arg) => arg.values.length === 0).map((arg) => Number(arg.key));
  handler(env, args, numbers);
}

function given(value: number | undefined): number {
  const number = present(value, "a number that stands alone");
  if (!Number.isSafeInteger(number)) throw new Error("a word where a number should stand");
  return number;
}

function named(args: readonly Arg[], key: string): number {
  return toNumber(argValues(args, key)?.[0] ?? "");
}

function isQuietLevel(name: string): boolean {
  const level = logLevels.indexOf(name.toUpperCase());
  if (level < 0) throw new CommandError(`log levels must be either of [${logLevels.join(" ")}]`);
  return level === logLevels.length - 1;
}

const fates: Readonly<Record<string, Fate>> = { drop: "drop", keep: "copy" };

/**
 * Ours alone: `keep=(1,2)` delivers copies, so that they arrive again; `from=1` chooses by sender;
 * `skip=1` lets the first one to each wait, so that others overtake it.
 */
function deliverMessages(env: Environment, args: readonly Arg[]): void {
  const type = argValues(args, "type")?.[0];
  if (type !== undefined && !isMessageTypeName(type)) throw new Error(`unknown message ${type}`);
  const [from] = idsOf(args, "from");
  const skip = toNumber(argValues(args, "skip")?.[0] ?? "0");
  let count = 0;
  for (const { key, values } of args) {
    const fate = fates[key];
    if (values.length > 0 && fate === undefined) continue;
    for (const id of fate === undefined ? [key] : values) {
      count += env.deliver(toNumber(id), fate ?? "deliver", { type, from, skip });
    }
  }
  if (count === 0) env.print("no messages");
}

function stabilize(env: Environment, args: readonly Arg[], ids: readonly number[]): void {
  const before = env.isQuiet;
  try {
    const level = argValues(args, "log-level")?.[0];
    if (level !== undefined) env.setQuiet(isQuietLevel(level));
    env.stabilize(ids);
  } finally {
    env.setQuiet(before);
  }
}

const transitions = {
  auto: "auto",
  implicit: "jointImplicit",
  explicit: "jointExplicit",
} as const;

function proposeConfChange(env: Environment, block: Block): void {
  let isV1 = false;
  let transition: (typeof transitions)[keyof typeof transitions] = "auto";
  for (const { key, values } of block.args) {
    const [value] = values;
    if (value === undefined) continue;
    if (key === "v1") {
      isV1 = value === "true";
    } else if (key === "transition") {
      if (!isTransition(value)) throw new CommandError(`unknown transition ${value}`);
      transition = transitions[value];
    } else {
      throw new CommandError(`unknown command ${key}`);
    }
  }
  const changes = parseChanges(block.input.join(" "));
  const context = Buffer.alloc(0);
  let change: ConfChange = { kind: "v2", transition, changes, context };
  if (isV1) {
    if (changes.length > 1 || transition !== "auto") {
      throw new CommandError("v1 conf change can only have one operation and no transition");
    }
    change = { kind: "v1", change: present(changes[0], "one change"), context };
  }
  env.proposeConfChange(toNumber(block.args[0]?.key ?? ""), change);
}

function isTransition(word: string): word is keyof typeof transitions {
  return Object.hasOwn(transitions, word);
}
