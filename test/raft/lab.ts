/** A few replicas with logs in memory and a wire that tests cut, reorder and look at. */
import { assert, present } from "../../src/base/assert.ts";
import type { LogIndex, StoreId, Term } from "../../src/base/brand.ts";
import { emptyMembership } from "../../src/raft/conf-change.ts";
import { decodeConfChange } from "../../src/raft/conf-change-codec.ts";
import type { ProgressStatus } from "../../src/raft/progress-status.ts";
import { createRaftNode } from "../../src/raft/raft.ts";
import type {
  AppendMessage,
  AppendResponse,
  ConfChange,
  Entry,
  MemberChangeType,
  Membership,
  Message,
  RaftConfig,
  RaftNode,
  Ready,
  SnapshotMessage,
  VoteRequest,
} from "../../src/raft/types.ts";
import { parseChanges } from "./describe.ts";
import { MemoryLog } from "./memory-log.ts";

export const id = (value: number): StoreId => value as StoreId;
export const at = (value: number): LogIndex => value as LogIndex;
export const term = (value: number): Term => value as Term;

type Transition = "auto" | "jointImplicit" | "jointExplicit";

export interface Member {
  node: RaftNode;
  readonly log: MemoryLog;
  readonly config: RaftConfig;
  /** Payloads applied, in order; entries without payload are left out. */
  readonly applied: string[];
  readonly reads: { requestId: number; index: number }[];
  /** Carries out a change of the membership instead of the core alone. */
  applyChange?: (entry: Entry) => void;
}

/** Entries of the given terms, from index 1 on (or `first`), with `<index>@<term>` as payload. */
export function entriesOf(terms: readonly number[], first = 1): Entry[] {
  return terms.map((value, i) => ({
    index: at(first + i),
    term: term(value),
    type: "normal",
    data: Buffer.from(`${first + i}@${value}`),
  }));
}

export function appendTo(to: number, fields: Partial<AppendMessage>): AppendMessage {
  return {
    kind: "append",
    from: id(1),
    to: id(to),
    term: term(1),
    prevIndex: at(0),
    prevTerm: term(0),
    entries: [],
    commit: at(0),
    ...fields,
  };
}

export function voteFor(from: number, to: number, fields: Partial<VoteRequest>): VoteRequest {
  return {
    kind: "vote",
    from: id(from),
    to: id(to),
    term: term(1),
    lastIndex: at(0),
    lastTerm: term(0),
    transfer: false,
    ...fields,
  };
}

/** Answers as if `from` had written up to `index`. */
export function ackFrom(
  from: number,
  member: Member,
  index: number,
  fields: Partial<AppendResponse> = {},
): AppendResponse {
  return {
    kind: "appendResponse",
    from: id(from),
    to: member.node.id,
    term: member.node.term,
    index: at(index),
    reject: false,
    hintIndex: at(0),
    hintTerm: term(0),
    ...fields,
  };
}

export function members(voters: readonly number[], learners: readonly number[] = []): Membership {
  return { ...emptyMembership, voters: voters.map(id), learners: learners.map(id) };
}

/** A snapshot of the leader 1, in force with these voters. */
export function snapshotTo(
  to: number,
  index: number,
  inTerm: number,
  voters: readonly number[],
): SnapshotMessage {
  const snapshot = { index: at(index), term: term(inTerm), membership: members(voters) };
  return { kind: "snapshot", from: id(1), to: id(to), term: term(inTerm), snapshot };
}

export function change(type: MemberChangeType, ...ids: readonly number[]): ConfChange {
  const changes = ids.map((each) => ({ type, id: id(each) }));
  return { kind: "v2", transition: "auto", changes, context: Buffer.alloc(0) };
}

/** Through a joint configuration, with changes as `v1 l2 r3`. */
export function joint(text: string, transition: Transition = "jointImplicit"): ConfChange {
  return { kind: "v2", transition, changes: parseChanges(text), context: Buffer.alloc(0) };
}

/** What the leader knows of `of`. */
export function progressOf(member: Member, of: number): ProgressStatus {
  return present(
    member.node.status().progress.find((each) => each.id === of),
    `progress of ${of}`,
  );
}

/** A member alone, of a group of `count` voters, with a log of these terms. */
export function lone(
  own: number,
  count: number,
  terms: readonly number[] = [],
  options: Partial<RaftConfig> = {},
  startTerm = Math.max(0, ...terms),
): Member {
  const log = new MemoryLog();
  log.membership = {
    ...emptyMembership,
    voters: Array.from({ length: count }, (_, i) => id(i + 1)),
  };
  log.append(entriesOf(terms));
  log.hardState = { term: term(startTerm), vote: id(0), commit: at(0) };
  const config: RaftConfig = {
    id: id(own),
    log,
    appliedIndex: at(0),
    electionTicks: 10,
    heartbeatTicks: 1,
    random: () => 0,
    asyncStorageWrites: false,
    preVote: false,
    checkQuorum: false,
    maxSizePerMsg: Number.POSITIVE_INFINITY,
    maxCommittedSizePerReady: Number.POSITIVE_INFINITY,
    maxUncommittedSize: Number.POSITIVE_INFINITY,
    maxInflightMsgs: 256,
    maxInflightBytes: Number.POSITIVE_INFINITY,
    readOnly: "safe",
    ...options,
  };
  return { node: createRaftNode(config), log, config, applied: [], reads: [] };
}

/** Carries a Ready out at once, as a driver without asyncStorageWrites does. */
export function carryOut(member: Member): Ready {
  const { node, log } = member;
  const ready = node.ready();
  if (ready.hardState !== null) log.hardState = ready.hardState;
  if (ready.snapshot !== null) log.applySnapshot(ready.snapshot);
  log.append(ready.entries);
  for (const entry of ready.committedEntries) {
    const { index, term, type, data } = entry;
    if (type !== "normal" && member.applyChange) member.applyChange(entry);
    else if (type !== "normal") node.applyConfChange(decodeConfChange(data));
    else if (data.length > 0) member.applied.push(data.toString());
    log.newest = { index, term, membership: node.membership };
  }
  member.reads.push(...ready.readStates);
  if (!member.config.asyncStorageWrites) node.advance();
  return ready;
}

/** All that a member has to say to others now. */
export function flush(member: Member): Message[] {
  const messages: Message[] = [];
  for (let i = 0; i < 100 && member.node.hasReady(); i++) {
    messages.push(...carryOut(member).messages);
  }
  return messages;
}

export class Lab {
  readonly members: Member[] = [];
  wire: Message[] = [];
  /** Messages for which this says true are lost. */
  isLost: (message: Message) => boolean = () => false;

  /** @param voters - of all, the first ones; the others know of the group and do not belong to it */
  constructor(
    logs: number | readonly (readonly number[])[],
    options: Partial<RaftConfig> = {},
    voters?: number,
  ) {
    const all = typeof logs === "number" ? new Array<number[]>(logs).fill([]) : logs;
    // A term with a leader is known to a majority: here, to all.
    const startTerm = Math.max(0, ...all.flat());
    all.forEach((terms, i) => {
      this.members.push(lone(i + 1, voters ?? all.length, terms, options, startTerm));
    });
  }

  at(own: number): Member {
    return present(this.members[own - 1], `member ${own}`);
  }

  node(own: number): RaftNode {
    return this.at(own).node;
  }

  /** Until nobody has anything to say: at most 200 rounds. */
  settle(): void {
    for (let round = 0; round < 200; round++) {
      for (const member of this.members) this.wire.push(...flush(member));
      const messages = this.wire;
      if (messages.length === 0) return;
      this.wire = [];
      for (const message of messages) {
        if (!this.isLost(message)) this.members[message.to - 1]?.node.step(message);
      }
    }
    throw new Error("does not settle");
  }

  elect(own: number): void {
    this.node(own).campaign();
    this.settle();
  }

  propose(own: number, text: string): void {
    this.node(own).propose(Buffer.from(text));
    this.settle();
  }

  /** Proposes the change, and lets it come into force. */
  change(own: number, wanted: ConfChange): void {
    const outcome = this.node(own).proposeConfChange(wanted);
    assert(outcome.kind === "accepted", "the change is taken", JSON.stringify(outcome));
    this.settle();
  }

  tick(own: number, ticks: number): void {
    for (let i = 0; i < ticks; i++) this.node(own).tick();
  }

  /** Loses all messages from and to these members. */
  isolate(...gone: readonly number[]): void {
    this.isLost = (message) => gone.includes(message.from) || gone.includes(message.to);
  }

  heal(): void {
    this.isLost = () => false;
  }

  /** Terms of the log of a member, from index 1 on. */
  terms(own: number): number[] {
    const { log } = this.at(own);
    if (log.lastIndex() < log.firstIndex()) return [];
    const all = log.entries(log.firstIndex(), at(log.lastIndex() + 1), Number.POSITIVE_INFINITY);
    return all.map((entry) => entry.term);
  }

  /** The process dies and starts again from its disk; what it applied is kept. */
  restart(own: number): void {
    const member = this.at(own);
    const applied = at(member.log.newest?.index ?? 0);
    if (member.log.newest !== null) member.log.membership = member.log.newest.membership;
    member.node = createRaftNode({ ...member.config, appliedIndex: applied });
  }
}
