/**
 * What one replica can do. A replica's next state and what it sends follow from its own state and
 * one event alone, so every such step is taken once and remembered: the search over whole groups is
 * then a matter of numbers.
 */
import { assert, InvariantError, present } from "../../../src/base/assert.ts";
import { type LogIndex, type StoreId, toStoreId } from "../../../src/base/brand.ts";
import { emptyMembership } from "../../../src/raft/conf-change.ts";
import { decodeConfChange } from "../../../src/raft/conf-change-codec.ts";
import { createRaftNode } from "../../../src/raft/raft.ts";
import {
  type ConfChange,
  type Entry,
  isLocalTarget,
  type Message,
  type NetworkMessage,
  type RaftConfig,
  type RaftNode,
  type Ready,
  type StorageAppendMessage,
} from "../../../src/raft/types.ts";
import { describeMessage } from "../describe.ts";
import { MemoryLog } from "../memory-log.ts";
import { copyMachine, type Machine, textOf } from "./copy.ts";

/** A replica and the writes that its disk has not done yet. */
interface Replica extends Machine {
  readonly writes: StorageAppendMessage[];
}

/** What the checks look at. */
export interface LocalView {
  readonly id: number;
  readonly term: number;
  readonly isLeader: boolean;
  readonly isCandidate: boolean;
  /** The term that a crash does not take away. */
  readonly durableTerm: number;
  /** `<term>:<data>` per entry, from index 1 on, unwritten ones included. */
  readonly log: readonly string[];
  /** The same of what is on disk. */
  readonly disk: readonly string[];
  readonly commit: number;
  /** Writes that are handed out and not done. */
  readonly writes: number;
}

export interface LocalStep {
  /** Number of the state that follows. */
  readonly next: number;
  /** Numbers of the messages that leave, sorted, each once. */
  readonly sent: readonly number[];
}

export type LocalEvent =
  | { readonly kind: "campaign" | "propose" | "change" | "beat" | "write" | "crash" }
  /** `dies`: behind what leaves at once, before the first write is done. */
  | { readonly kind: "deliver"; readonly message: number; readonly dies: boolean };

export interface LocalOptions {
  /** Ids of those whose writes are events of their own. */
  readonly slowDisks: readonly number[];
  readonly preVote: boolean;
  readonly logs: readonly (readonly number[])[];
  /** Ids of those that are not voters at the start. */
  readonly learners: readonly number[];
}

/** The core has found out itself that something is wrong. */
export class BrokenInvariant extends Error {}

export class LocalSteps {
  readonly messages: NetworkMessage[] = [];
  private readonly messageNumbers = new Map<string, number>();
  private readonly states: Replica[] = [];
  private readonly views: LocalView[] = [];
  private readonly stateNumbers = new Map<string, number>();
  private readonly steps = new Map<number, Map<number, LocalStep | null>>();
  private readonly options: LocalOptions;
  /** The state that each replica starts in. */
  readonly initial: readonly number[];

  constructor(options: LocalOptions) {
    this.options = options;
    this.initial = options.logs.map((terms, i) => this.numberOf(this.start(i + 1, terms)));
  }

  get stateCount(): number {
    return this.states.length;
  }

  view(state: number): LocalView {
    return present(this.views[state], `state ${state}`);
  }

  /** null: the event means nothing in this state. */
  step(state: number, event: LocalEvent): LocalStep | null {
    const code = codeOf(event);
    let known = this.steps.get(state);
    if (known === undefined) {
      known = new Map();
      this.steps.set(state, known);
    }
    const seen = known.get(code);
    if (seen !== undefined) return seen;
    const made = this.take(present(this.states[state], `state ${state}`), event);
    const result = made.next === state && made.sent.length === 0 ? null : made;
    known.set(code, result);
    return result;
  }

  private take(from: Replica, event: LocalEvent): LocalStep {
    const replica: Replica = { ...copyMachine(from), writes: [...from.writes] };
    const sent: number[] = [];
    const send = (message: Message): void => {
      sent.push(this.messageNumber(message as NetworkMessage));
    };
    try {
      const after = this.carryOut(replica, event, send);
      return { next: this.numberOf(after), sent: [...new Set(sent)].sort((a, b) => a - b) };
    } catch (error) {
      if (error instanceof InvariantError) throw new BrokenInvariant(error.message);
      throw error;
    }
  }

  private carryOut(replica: Replica, event: LocalEvent, send: (message: Message) => void): Replica {
    const { node } = replica;
    switch (event.kind) {
      case "campaign":
        node.campaign();
        break;
      case "propose":
        node.propose(Buffer.from("x"));
        break;
      case "change":
        node.proposeConfChange(promotion(this.options.learners));
        break;
      case "beat":
        node.tick();
        break;
      case "write":
        this.write(replica, send);
        break;
      case "crash":
        return restarted(replica);
      case "deliver":
        node.step(present(this.messages[event.message], "a message"));
        if (event.dies) return this.dieAtWrite(replica, send);
    }
    this.settle(replica, send);
    return replica;
  }

  /** Takes Readys until there is none; disks that are not slow write at once. */
  private settle(replica: Replica, send: (message: Message) => void): void {
    for (;;) {
      while (replica.node.hasReady()) {
        const { messages } = replica.node.ready();
        for (const message of messages) handleWork(replica, message, send);
      }
      const isSlow = this.options.slowDisks.includes(replica.node.id);
      if (isSlow || replica.writes.length === 0) return;
      while (replica.writes.length > 0) this.write(replica, send);
    }
  }

  private write(replica: Replica, send: (message: Message) => void): void {
    const work = replica.writes.shift();
    if (work === undefined) return;
    if (work.hardState !== null) replica.log.hardState = work.hardState;
    replica.log.append(work.entries);
    for (const response of work.responses) {
      if (response.to === replica.node.id) replica.node.step(response);
      else send(response);
    }
  }

  private dieAtWrite(replica: Replica, send: (message: Message) => void): Replica {
    if (replica.node.hasReady()) {
      const { messages } = replica.node.ready();
      for (const message of messages) handleWork(replica, message, send);
    }
    return restarted(replica);
  }

  private start(id: number, terms: readonly number[]): Replica {
    const log = new MemoryLog();
    const all = this.options.logs.map((_, i) => toStoreId(i + 1));
    const isLearner = (each: StoreId): boolean => this.options.learners.includes(each);
    log.membership = {
      ...emptyMembership,
      voters: all.filter((each) => !isLearner(each)),
      learners: all.filter(isLearner),
    };
    const highest = Math.max(0, ...this.options.logs.flat());
    log.hardState = { ...log.hardState, term: highest as typeof log.hardState.term };
    log.append(
      terms.map((term, i) => ({
        index: (i + 1) as LogIndex,
        term: term as Entry["term"],
        type: "normal",
        data: Buffer.from("old"),
      })),
    );
    const node = createRaftNode(configOf(toStoreId(id), log, this.options.preVote));
    return { node, log, writes: [] };
  }

  private numberOf(replica: Replica): number {
    const writes = replica.writes.map((each) => describeMessage(each)).join("\n");
    const text = `${textOf({ node: replica.node, log: replica.log })}\n${writes}`;
    const known = this.stateNumbers.get(text);
    if (known !== undefined) return known;
    const number = this.states.length;
    this.states.push(replica);
    this.views.push(viewOf(replica));
    this.stateNumbers.set(text, number);
    return number;
  }

  private messageNumber(message: NetworkMessage): number {
    assert(!isLocalTarget(message.to), "a message for another replica", message.kind);
    const text = textOfMessage(message);
    const known = this.messageNumbers.get(text);
    if (known !== undefined) return known;
    this.messages.push(message);
    this.messageNumbers.set(text, this.messages.length - 1);
    return this.messages.length - 1;
  }
}

/** All learners become voters, by a joint change if they are several. */
function promotion(learners: readonly number[]): ConfChange {
  const changes = learners.map((id) => ({ type: "addVoter", id: toStoreId(id) }) as const);
  return { kind: "v2", transition: "auto", changes, context: Buffer.alloc(0) };
}

function handleWork(
  replica: Replica,
  message: Ready["messages"][number],
  send: (message: Message) => void,
): void {
  if (message.kind === "storageAppend") {
    replica.writes.push(message);
  } else if (message.kind === "storageApply") {
    for (const { type, data } of message.entries) {
      if (type !== "normal") replica.node.applyConfChange(decodeConfChange(data));
    }
    for (const response of message.responses) replica.node.step(response);
  } else {
    send(message);
  }
}

/** The process starts anew from its disk. What it had applied was in memory. */
function restarted(replica: Replica): Replica {
  const { log } = replica;
  const commit = Math.min(log.hardState.commit, log.lastIndex()) as LogIndex;
  log.hardState = { ...log.hardState, commit };
  const preVote = optionsOf(replica.node).preVote;
  const node = createRaftNode(configOf(replica.node.id, log, preVote));
  const after: Replica = { node, log, writes: [] };
  while (node.hasReady()) {
    for (const message of node.ready().messages) handleWork(after, message, () => undefined);
  }
  return after;
}

function optionsOf(node: RaftNode): RaftConfig {
  return (node as unknown as { core: { config: RaftConfig } }).core.config;
}

function configOf(id: StoreId, log: MemoryLog, preVote: boolean): RaftConfig {
  return {
    id,
    log,
    appliedIndex: 0 as LogIndex,
    electionTicks: 2 ** 30,
    heartbeatTicks: 1,
    random: () => 0,
    asyncStorageWrites: true,
    preVote,
    checkQuorum: false,
    maxSizePerMsg: 0,
    maxCommittedSizePerReady: Number.POSITIVE_INFINITY,
    maxUncommittedSize: Number.POSITIVE_INFINITY,
    maxInflightMsgs: 8,
    maxInflightBytes: Number.POSITIVE_INFINITY,
    readOnly: "safe",
  };
}

function viewOf({ node, log, writes }: Replica): LocalView {
  const disk = log.lastIndex() === 0 ? [] : log.entries(at(1), at(log.lastIndex() + 1), 2 ** 40);
  // The end of the log that is not on disk yet is in the writes that are handed out.
  const all = [...disk];
  for (const write of writes) {
    for (const entry of write.entries) all.splice(entry.index - 1, all.length, entry);
  }
  return {
    id: node.id,
    term: node.term,
    isLeader: node.role === "leader",
    isCandidate: node.role === "candidate",
    durableTerm: log.hardState.term,
    log: all.map(describe),
    disk: disk.map(describe),
    commit: node.commitIndex,
    writes: writes.length,
  };
}

function describe({ term, data }: Entry): string {
  return `${term}:${data.toString("latin1")}`;
}

function at(index: number): LogIndex {
  return index as LogIndex;
}

const simpleKinds = ["campaign", "propose", "change", "beat", "write", "crash"] as const;

/** An event as a number. */
export function codeOf(event: LocalEvent): number {
  if (event.kind !== "deliver") return simpleKinds.indexOf(event.kind);
  return simpleKinds.length + event.message * 2 + (event.dies ? 1 : 0);
}

export function eventOf(code: number): LocalEvent {
  const kind = simpleKinds[code];
  if (kind !== undefined) return { kind };
  const rest = code - simpleKinds.length;
  return { kind: "deliver", message: Math.floor(rest / 2), dies: rest % 2 === 1 };
}

function textOfMessage(message: NetworkMessage): string {
  return JSON.stringify(message, (key, value: unknown) =>
    key === "data" ? JSON.stringify(value) : value,
  );
}
