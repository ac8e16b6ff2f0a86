/**
 * Copies of a replica and its disk, and their content as text. Both walk over everything that is
 * there, so that a field that is new takes part by itself: two replicas with the same text behave the
 * same from then on.
 */
import type { Core } from "../../../src/raft/core.ts";
import type { RaftNode } from "../../../src/raft/types.ts";
import { MemoryLog } from "../memory-log.ts";

export interface Machine {
  readonly node: RaftNode;
  readonly log: MemoryLog;
}

/** The core behind the interface that its driver has. */
export function coreOf(node: RaftNode): Core {
  return (node as unknown as { core: Core }).core;
}

export function copyMachine(machine: Machine): Machine {
  const known = new Map<object, object>();
  const log = copyOf(machine.log, known);
  const node = copyOf(machine.node, known);
  const core = coreOf(node);
  // These are built by the constructor and read from the core that made them.
  Object.assign(core, {
    matchOf: (id: never) => core.progress.get(id)?.match,
    voteOf: (id: never) => core.votes.get(id),
    readAckOf: (id: never) => core.readAcks.get(id),
  });
  return { node, log };
}

function copyOf<T>(value: T, known: Map<object, object>): T {
  if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) return value;
  const seen = known.get(value);
  if (seen !== undefined) return seen as T;
  const copy: object = Array.isArray(value)
    ? []
    : value instanceof Map
      ? new Map()
      : Object.create(Object.getPrototypeOf(value));
  known.set(value, copy);
  if (value instanceof Map && copy instanceof Map) {
    for (const [key, each] of value) copy.set(key, copyOf(each, known));
  } else {
    for (const [key, each] of Object.entries(value)) {
      Object.defineProperty(copy, key, {
        value: copyOf(each, known),
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
  }
  return copy as T;
}

/** Time does not pass here, and what only leaders or candidates look at is made anew before. */
function isIdle(core: Core, key: string): boolean {
  if (/^(electionElapsed|heartbeatElapsed|electionTimeout|leaderSilence|pace)$/.test(key))
    return true;
  if (key === "progress") return core.role !== "leader";
  return key === "votes" && (core.role === "follower" || core.role === "leader");
}

export function textOf(machine: Machine): string {
  const core = coreOf(machine.node);
  const write = (value: unknown, holder: unknown): string => {
    if (typeof value === "function") return "";
    if (typeof value !== "object" || value === null) return String(value);
    if (Buffer.isBuffer(value)) return `"${value.toString("latin1")}"`;
    if (Array.isArray(value)) return `[${value.map((each) => write(each, value)).join()}]`;
    if (value instanceof Map) return `{${[...value].map((pair) => write(pair, value)).join()}}`;
    // The disk is written out once, the configuration never changes.
    if (value instanceof MemoryLog && holder !== machine) return "";
    const fields = Object.entries(value).filter(
      ([key]) => key !== "config" && !(value === core && isIdle(core, key)),
    );
    return `(${fields.map(([, each]) => write(each, value)).join(";")})`;
  };
  return write(machine, undefined);
}
