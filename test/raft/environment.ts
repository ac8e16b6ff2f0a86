/** A small cluster driven by hand, and what it prints; commands.ts says what can be done to it. */
import { present } from "../../src/base/assert.ts";
import { type LogIndex, type Term, toStoreId } from "../../src/base/brand.ts";
import { emptyMembership } from "../../src/raft/conf-change.ts";
import { decodeConfChange } from "../../src/raft/conf-change-codec.ts";
import { createRaftNode } from "../../src/raft/raft.ts";
import {
  type ConfChange,
  type Entry,
  isLocalTarget,
  type Message,
  type ProposeOutcome,
  type RaftConfig,
  type RaftNode,
  type SnapshotMeta,
  type StorageAppendMessage,
  type StorageApplyMessage,
} from "../../src/raft/types.ts";
import { type Arg, argValues, CommandError, idsOf, toNumber } from "./datadriven.ts";
import {
  describeEntry,
  describeMessage,
  describeProgress,
  describeReady,
  describeRole,
  messageTypeName,
  senderOf,
} from "./describe.ts";
import { MemoryLog } from "./memory-log.ts";
import { nodeConfig } from "./node-config.ts";

interface Replica {
  readonly node: RaftNode;
  readonly config: RaftConfig;
  readonly log: MemoryLog;
  readonly appendWork: StorageAppendMessage[];
  readonly applyWork: StorageApplyMessage[];
}

const stepErrors = {
  ok: "",
  peerNotFound: "raft: cannot step as peer not found",
  dropped: "raft proposal dropped",
  invalid: "invalid message",
};

/** copy: it is delivered and stays on its way, to arrive again. */
export type Fate = "deliver" | "drop" | "copy";

interface Choice {
  readonly type?: string | undefined;
  readonly from?: number | undefined;
  /** The first ones stay where they are. */
  readonly skip?: number | undefined;
}

export class Environment {
  readonly replicas: Replica[] = [];
  messages: Message[] = [];
  isQuiet = false;
  private readonly cuts = new Set<string>();
  private lines: string[] = [];
  private indent = "";

  /** @returns what `work` prints, `ok` if it is nothing; an error is output in any case */
  collect(work: () => void): string[] {
    this.lines = [];
    try {
      work();
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      if (this.isQuiet) return [error.message];
      this.print(error.message);
    }
    return this.lines.length === 0 ? ["ok"] : this.lines;
  }

  setQuiet(isQuiet: boolean): void {
    this.isQuiet = isQuiet;
  }

  print(line: string): void {
    if (!this.isQuiet) this.lines.push(this.indent + line);
  }

  node(id: number): RaftNode {
    return this.at(id).node;
  }

  addNodes(count: number, args: readonly Arg[]): void {
    const membership = {
      ...emptyMembership,
      voters: idsOf(args, "voters"),
      learners: idsOf(args, "learners"),
    };
    const index = toNumber(argValues(args, "index")?.[0] ?? "0") as LogIndex;
    const isNew = index === 0 && membership.voters.length + membership.learners.length === 0;
    if (!isNew && index <= 1) {
      throw new CommandError("index must be specified as > 1 due to bootstrap");
    }
    for (let i = 0; i < count; i++) {
      const id = toStoreId(this.replicas.length + 1);
      const log = new MemoryLog();
      if (!isNew) log.applySnapshot({ index, term: 1 as Term, membership });
      const config = nodeConfig(args, id, log, index);
      const node = createRaftNode(config);
      this.replicas.push({ node, config, log, appendWork: [], applyWork: [] });
    }
  }

  /** The process dies, with all its unfinished work, and starts again from what is on disk. */
  restart(id: number): void {
    const { config, log } = this.at(id);
    const applied = (log.newest?.index ?? 0) as LogIndex;
    if (log.newest !== null) log.membership = log.newest.membership;
    const commit = Math.max(log.hardState.commit, applied) as LogIndex;
    log.hardState = { ...log.hardState, commit };
    const node = createRaftNode({ ...config, appliedIndex: applied });
    this.replicas[id - 1] = { node, config, log, appendWork: [], applyWork: [] };
  }

  propose(id: number, data: Buffer): void {
    checkOutcome(this.node(id).propose(data));
  }

  proposeConfChange(id: number, change: ConfChange): void {
    checkOutcome(this.node(id).proposeConfChange(change));
  }

  readIndex(id: number, requestId: number): void {
    if (!this.node(id).readIndex(requestId)) throw new CommandError("read refused");
  }

  tick(id: number, interval: "heartbeatTicks" | "electionTicks"): void {
    const { node, config } = this.at(id);
    for (let i = 0; i < config[interval]; i++) node.tick();
  }

  /** Nothing happens without ids; a head line for each if there are several. */
  forEach(ids: readonly number[], what: string, work: (id: number) => void): void {
    for (const id of ids) {
      if (ids.length === 1) work(id);
      else this.under(`> ${id} ${what}`, () => work(id));
    }
  }

  /** @returns how many messages to `id` were dealt with */
  deliver(id: number, fate: Fate, choice: Choice = {}): number {
    const chosen = this.messages.filter((each) => isFor(each, id, fate, choice)).slice(choice.skip);
    if (fate !== "copy") this.messages = this.messages.filter((each) => !chosen.includes(each));
    for (const message of chosen) {
      const lines = describeMessage(message).split("\n");
      if (fate === "drop") lines[0] = `dropped: ${lines[0]}`;
      this.printAll(lines);
      if (fate === "drop") continue;
      const error = stepErrors[this.node(id).step(message)];
      if (error !== "") this.print(error);
    }
    return chosen.length;
  }

  /** Until nobody of `given` (all, if it is empty) has anything to do. */
  stabilize(given: readonly number[]): void {
    const ids = given.length > 0 ? given : this.replicas.map((_, i) => i + 1);
    for (let round = 0; round < 1000; round++) {
      let isDone = true;
      const pass = (what: string, has: (id: number) => boolean, work: (id: number) => void) => {
        for (const id of ids) {
          if (!has(id)) continue;
          isDone = false;
          this.under(`> ${id} ${what}`, () => work(id));
        }
      };
      pass(
        "handling Ready",
        (id) => this.node(id).hasReady(),
        (id) => this.processReady(id),
      );
      pass(
        "receiving messages",
        (id) => this.messages.some((each) => each.to === id),
        (id) => this.deliver(id, "deliver"),
      );
      pass(
        "processing append thread",
        (id) => this.at(id).appendWork.length > 0,
        (id) => {
          while (this.at(id).appendWork.length > 0) this.processAppend(id);
        },
      );
      pass(
        "processing apply thread",
        (id) => this.at(id).applyWork.length > 0,
        (id) => {
          while (this.at(id).applyWork.length > 0) this.processApply(id);
        },
      );
      if (isDone) return;
    }
    throw new Error("does not stabilize in 1000 rounds");
  }

  processReady(id: number): void {
    const replica = this.at(id);
    const ready = replica.node.ready();
    this.printAll(describeReady(ready));
    if (!replica.config.asyncStorageWrites) {
      write(replica.log, ready);
      this.apply(replica, ready.committedEntries);
    }
    for (const message of ready.messages) {
      if (message.kind === "storageAppend") replica.appendWork.push(message);
      else if (message.kind === "storageApply") replica.applyWork.push(message);
      else if (!this.isCut(message)) this.messages.push(message);
    }
    if (!replica.config.asyncStorageWrites) replica.node.advance();
  }

  processAppend(id: number): void {
    const replica = this.at(id);
    const work = replica.appendWork.shift();
    if (work === undefined) {
      this.print("no append work to perform");
      return;
    }
    write(replica.log, work);
    this.finishWork(work);
  }

  processApply(id: number): void {
    const replica = this.at(id);
    const work = replica.applyWork.shift();
    if (work === undefined) {
      this.print("no apply work to perform");
      return;
    }
    this.apply(replica, work.entries);
    this.finishWork(work);
  }

  private finishWork(work: StorageAppendMessage | StorageApplyMessage): void {
    this.print("Processing:");
    this.printAll(describeMessage({ ...work, responses: [] }).split("\n"));
    this.print("Responses:");
    for (const response of work.responses) this.printAll(describeMessage(response).split("\n"));
    this.messages.push(...work.responses.filter((each) => !this.isCut(each)));
  }

  private apply(replica: Replica, entries: readonly Entry[]): void {
    for (const { index, term, type, data } of entries) {
      if (type !== "normal") replica.node.applyConfChange(decodeConfChange(data));
      replica.log.newest = { index, term, membership: replica.node.membership };
    }
  }

  showLog(id: number): void {
    const { log } = this.at(id);
    const [first, last] = [log.firstIndex(), log.lastIndex()];
    if (last < first) {
      this.print(`log is empty: first index=${first}, last index=${last}`);
      return;
    }
    const all = log.entries(first, (last + 1) as LogIndex, Number.POSITIVE_INFINITY);
    this.printAll(all.map(describeEntry));
  }

  showRoles(): void {
    for (const { node } of this.replicas) {
      const { voters, votersOutgoing } = node.membership;
      const isVoter = voters.includes(node.id) || votersOutgoing.includes(node.id);
      const kind = isVoter ? "(Voter)" : "(Non-Voter)";
      const role = describeRole(node.role);
      this.print(`${node.id}: ${role} ${kind} Term:${node.term} Lead:${node.leaderId}`);
    }
  }

  sendSnapshot(from: number, to: number): void {
    const sender = this.at(from);
    const message: Message = {
      kind: "snapshot",
      from: sender.node.id,
      to: toStoreId(to),
      term: sender.node.term,
      snapshot: present(sender.log.newest, "a snapshot to send"),
    };
    this.messages.push(message);
    this.printAll(describeMessage(message).split("\n"));
  }

  showProgress(id: number): void {
    this.printAll(this.node(id).status().progress.map(describeProgress));
  }

  compact(id: number, index: LogIndex): void {
    const { log } = this.at(id);
    if (index < log.firstIndex()) {
      throw new CommandError("requested index is unavailable due to compaction");
    }
    log.compact(index);
    this.showLog(id);
  }

  cut(id: number, others: readonly number[]): void {
    for (const other of others) this.cuts.add(linkOf(id, other));
  }

  heal(): void {
    this.cuts.clear();
  }

  private isCut(message: Message): boolean {
    return this.cuts.has(linkOf(message.from, message.to));
  }

  private at(id: number): Replica {
    return present(this.replicas[id - 1], `replica ${id}`);
  }

  private printAll(lines: readonly string[]): void {
    for (const line of lines) this.print(line);
  }

  private under(head: string, work: () => void): void {
    this.print(head);
    const before = this.indent;
    this.indent += "  ";
    try {
      work();
    } finally {
      this.indent = before;
    }
  }
}

function isFor(message: Message, id: number, fate: Fate, choice: Choice): boolean {
  const { to } = message;
  const from = senderOf(message);
  // Local messages are never lost, and come once.
  const isLocal = from === to || isLocalTarget(from) || isLocalTarget(to);
  if (to !== id || (fate !== "deliver" && isLocal)) return false;
  if (choice.from !== undefined && choice.from !== from) return false;
  return choice.type === undefined || messageTypeName(message) === choice.type;
}

function linkOf(one: number, other: number): string {
  return `${Math.min(one, other)}-${Math.max(one, other)}`;
}

function checkOutcome(outcome: ProposeOutcome): void {
  // A refused change leaves an empty entry, as one that may not be does in every Raft of this kind.
  if (outcome.kind === "dropped") throw new CommandError("raft proposal dropped");
}

function write(
  log: MemoryLog,
  work: Pick<StorageAppendMessage, "hardState" | "entries" | "snapshot">,
): void {
  if (work.hardState !== null) log.hardState = work.hardState;
  const snapshot: SnapshotMeta | null = work.snapshot;
  if (snapshot !== null) log.applySnapshot(snapshot);
  log.append(work.entries);
}
