/** A small cluster driven by hand: the commands of the interaction transcripts. */
import { present } from "../../src/base/assert.ts";
import { type LogIndex, type StoreId, type Term, toStoreId } from "../../src/base/brand.ts";
import { emptyMembership } from "../../src/raft/conf-change.ts";
import { decodeConfChange } from "../../src/raft/conf-change-codec.ts";
import { createRaftNode } from "../../src/raft/raft.ts";
import {
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
import { argValues, type Block, plainNumbers, toNumber } from "./datadriven.ts";
import {
  describeEntry,
  describeMessage,
  describeProgress,
  describeReady,
  describeRole,
  messageTypeName,
  parseChanges,
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

/** @param first - the first and second number that stand alone, 0 without */
type Handler = (block: Block, first: number, second: number) => void;

const stepErrors = {
  ok: "",
  peerNotFound: "raft: cannot step as peer not found",
  dropped: "raft proposal dropped",
  invalid: "invalid message",
};

export class Environment {
  private readonly replicas: Replica[] = [];
  private messages: Message[] = [];
  private lines: string[] = [];
  private indent = "";
  private isQuiet = false;

  private readonly commands: Record<string, Handler> = {
    "log-level": (block) => {
      this.isQuiet = block.args[0]?.key === "none";
    },
    "add-nodes": (block, count) => this.addNodes(block, count),
    campaign: (_, id) => this.node(id).campaign(),
    propose: (block, id) =>
      this.printOutcome(this.node(id).propose(Buffer.from(block.args[1]?.key ?? ""))),
    "propose-conf-change": (block, id) => this.proposeConfChange(block, id),
    "tick-heartbeat": (_, id) => this.tick(id, this.at(id).config.heartbeatTicks),
    "tick-election": (_, id) => this.tick(id, this.at(id).config.electionTicks),
    "deliver-msgs": (block) => this.deliverCommand(block),
    stabilize: (block) => this.stabilizeCommand(block),
    "process-ready": (block) =>
      this.forEachNode(block, "handling Ready", (id) => this.processReady(id)),
    "process-append-thread": (block) =>
      this.forEachNode(block, "processing append thread", (id) => this.processAppend(id)),
    "process-apply-thread": (block) =>
      this.forEachNode(block, "processing apply thread", (id) => this.processApply(id)),
    "raft-log": (_, id) => this.raftLog(id),
    "raft-state": () => this.raftState(),
    status: (_, id) => this.printAll(this.node(id).status().progress.map(describeProgress)),
    compact: (_, id, index) => {
      this.at(id).log.compact(index as LogIndex);
      this.raftLog(id);
    },
    "transfer-leadership": (block) => {
      const [from, to] = [namedNumber(block, "from"), namedNumber(block, "to")];
      this.node(from).transferLeadership(toStoreId(to));
    },
    "forget-leader": (_, id) => this.node(id).forgetLeader(),
    "report-unreachable": (_, id, other) => this.node(id).reportUnreachable(toStoreId(other)),
    "report-snapshot": (block, id, other) =>
      this.node(id).reportSnapshot(toStoreId(other), block.args[2]?.key !== "failed"),
    "read-index": (_, id, requestId) => {
      if (!this.node(id).readIndex(requestId)) this.print("read refused");
    },
    "send-snapshot": (_, from, to) => this.sendSnapshot(from, to),
    "set-randomized-election-timeout": (block, id) =>
      this.node(id).setElectionTimeout(namedNumber(block, "timeout")),
    restart: (_, id) => this.restart(id),
  };

  /** @returns the output, `ok` if there is none */
  run(block: Block): string[] {
    this.lines = [];
    this.dispatch(block);
    return this.lines.length === 0 ? ["ok"] : this.lines;
  }

  private dispatch(block: Block): void {
    const handler = this.commands[block.command];
    if (handler === undefined) throw new Error(`line ${block.line}: unknown ${block.command}`);
    const [first = 0, second = 0] = block.args
      .filter((arg) => arg.values.length === 0)
      .map((arg) => Number(arg.key));
    handler(block, first, second);
  }

  private print(line: string): void {
    if (!this.isQuiet) this.lines.push(this.indent + line);
  }

  private printAll(lines: readonly string[]): void {
    for (const line of lines) this.print(line);
  }

  private printOutcome(outcome: ProposeOutcome): void {
    if (outcome.kind === "dropped") this.print("raft proposal dropped");
  }

  private indented(work: () => void): void {
    const before = this.indent;
    this.indent += "  ";
    work();
    this.indent = before;
  }

  private at(id: number): Replica {
    return present(this.replicas[id - 1], `replica ${id}`);
  }

  private node(id: number): RaftNode {
    return this.at(id).node;
  }

  private ids(block: Block): number[] {
    const named = plainNumbers(block);
    return named.length > 0 ? named : this.replicas.map((_, i) => i + 1);
  }

  private forEachNode(block: Block, what: string, work: (id: number) => void): void {
    const ids = this.ids(block);
    for (const id of ids) {
      if (ids.length === 1) {
        work(id);
        continue;
      }
      this.print(`> ${id} ${what}`);
      this.indented(() => work(id));
    }
  }

  private addNodes(block: Block, count: number): void {
    const idList = (key: string): StoreId[] =>
      (argValues(block, key) ?? []).map((value) => toStoreId(toNumber(value)));
    const index = toNumber(argValues(block, "index")?.[0] ?? "0") as LogIndex;
    for (let i = 0; i < count; i++) {
      const id = toStoreId(this.replicas.length + 1);
      const log = new MemoryLog();
      const membership = {
        ...emptyMembership,
        voters: idList("voters"),
        learners: idList("learners"),
      };
      if (index > 0) log.applySnapshot({ index, term: 1 as Term, membership });
      const config = nodeConfig(block, id, log, index);
      const node = createRaftNode(config);
      this.replicas.push({ node, config, log, appendWork: [], applyWork: [] });
    }
  }

  /** The process dies, with all its unfinished work, and starts again from what is on disk. */
  private restart(id: number): void {
    const { config, log } = this.at(id);
    const applied = (log.newest?.index ?? 0) as LogIndex;
    if (log.newest !== null) log.membership = log.newest.membership;
    const commit = Math.max(log.hardState.commit, applied) as LogIndex;
    log.hardState = { ...log.hardState, commit };
    const node = createRaftNode({ ...config, appliedIndex: applied });
    this.replicas[id - 1] = { node, config, log, appendWork: [], applyWork: [] };
  }

  private proposeConfChange(block: Block, id: number): void {
    const changes = parseChanges(block.input.flatMap((line) => line.split(" ")).filter(Boolean));
    const context = Buffer.alloc(0);
    const given = argValues(block, "transition")?.[0] ?? "auto";
    const transition =
      given === "implicit" ? "jointImplicit" : given === "explicit" ? "jointExplicit" : "auto";
    const isV1 = argValues(block, "v1")?.[0] === "true";
    this.printOutcome(
      this.node(id).proposeConfChange(
        isV1
          ? { kind: "v1", change: present(changes[0], "one change"), context }
          : { kind: "v2", transition, changes, context },
      ),
    );
  }

  private tick(id: number, ticks: number): void {
    for (let i = 0; i < ticks; i++) this.node(id).tick();
  }

  private deliverCommand(block: Block): void {
    const type = argValues(block, "type")?.[0];
    const targets = plainNumbers(block).map((id) => ({ id, drop: false }));
    for (const id of argValues(block, "drop") ?? []) targets.push({ id: Number(id), drop: true });
    let count = 0;
    for (const { id, drop } of targets) count += this.deliver(id, drop, type);
    if (count === 0) this.print("no messages");
  }

  private isFor(message: Message, id: number, drop: boolean, type: string | undefined): boolean {
    const { from, to } = message;
    // Local messages are never lost.
    const isLocal = from === to || isLocalTarget(from) || isLocalTarget(to);
    if (to !== id || (drop && isLocal)) return false;
    return type === undefined || messageTypeName(message) === type;
  }

  private deliver(id: number, drop: boolean, type?: string): number {
    const chosen = this.messages.filter((each) => this.isFor(each, id, drop, type));
    this.messages = this.messages.filter((each) => !this.isFor(each, id, drop, type));
    for (const message of chosen) {
      const lines = describeMessage(message).split("\n");
      if (drop) lines[0] = `dropped: ${lines[0]}`;
      this.printAll(lines);
      if (drop) continue;
      const error = stepErrors[this.node(id).step(message)];
      if (error !== "") this.print(error);
    }
    return chosen.length;
  }

  private stabilizeCommand(block: Block): void {
    const before = this.isQuiet;
    const level = argValues(block, "log-level")?.[0];
    if (level !== undefined) this.isQuiet = level === "none";
    this.stabilize(this.ids(block));
    this.isQuiet = before;
  }

  private stabilize(ids: readonly number[]): void {
    for (let round = 0; round < 1000; round++) {
      let isDone = true;
      const pass = (what: string, has: (id: number) => boolean, work: (id: number) => void) => {
        for (const id of ids) {
          if (!has(id)) continue;
          isDone = false;
          this.print(`> ${id} ${what}`);
          this.indented(() => work(id));
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
        (id) => this.deliver(id, false),
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

  private processReady(id: number): void {
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
      else this.messages.push(message);
    }
    if (!replica.config.asyncStorageWrites) replica.node.advance();
  }

  private processAppend(id: number): void {
    const replica = this.at(id);
    const work = replica.appendWork.shift();
    if (work === undefined) {
      this.print("no append work to perform");
      return;
    }
    write(replica.log, work);
    this.finishWork(work);
  }

  private processApply(id: number): void {
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
    this.messages.push(...work.responses);
  }

  private apply(replica: Replica, entries: readonly Entry[]): void {
    for (const { index, term, type, data } of entries) {
      if (type !== "normal") replica.node.applyConfChange(decodeConfChange(data));
      replica.log.newest = { index, term, membership: replica.node.membership };
    }
  }

  private raftLog(id: number): void {
    const { log } = this.at(id);
    const [first, last] = [log.firstIndex(), log.lastIndex()];
    if (last < first) {
      this.print(`log is empty: first index=${first}, last index=${last}`);
      return;
    }
    const all = log.entries(first, (last + 1) as LogIndex, Number.POSITIVE_INFINITY);
    this.printAll(all.map(describeEntry));
  }

  private raftState(): void {
    for (const { node } of this.replicas) {
      const { voters, votersOutgoing } = node.membership;
      const isVoter = voters.includes(node.id) || votersOutgoing.includes(node.id);
      const kind = isVoter ? "(Voter)" : "(Non-Voter)";
      const role = describeRole(node.role);
      this.print(`${node.id}: ${role} ${kind} Term:${node.term} Lead:${node.leaderId}`);
    }
  }

  private sendSnapshot(from: number, to: number): void {
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
}

function namedNumber(block: Block, key: string): number {
  return toNumber(argValues(block, key)?.[0] ?? "");
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
