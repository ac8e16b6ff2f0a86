/**
 * Replicas under a seeded adversary: messages lost, repeated, reordered; slow disks; processes
 * that die and come back with what their disk had; membership that changes; logs that are cut.
 * After every step the safety properties of the Raft paper's figure 3 are checked, at the end that
 * a healed group makes progress. A failure names its seed.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogIndex, StoreId } from "../../../src/base/brand.ts";
import { emptyMembership } from "../../../src/raft/conf-change.ts";
import { decodeConfChange } from "../../../src/raft/conf-change-codec.ts";
import { decodeMessage, encodeMessage } from "../../../src/raft/message-codec.ts";
import { createRaftNode } from "../../../src/raft/raft.ts";
import {
  type Entry,
  isLocalTarget,
  type MemberChangeType,
  type Message,
  type NetworkMessage,
  type RaftConfig,
  type RaftNode,
  type StorageAppendMessage,
  type StorageApplyMessage,
} from "../../../src/raft/types.ts";
import { MemoryLog } from "../../raft/memory-log.ts";

/** SEED=n runs one schedule, SEED=n-m all of these. */
const [firstSeed = 1, lastSeed = firstSeed] = (process.env["SEED"] ?? "1-100")
  .split("-")
  .map(Number);
const seeds = range(firstSeed, lastSeed);
const steps = 3000;
const replicas = 5;
const voters = 3;

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** mulberry32: small, seeded, good enough for schedules. */
function createDice(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
  };
}

interface Replica {
  node: RaftNode;
  readonly config: RaftConfig;
  readonly log: MemoryLog;
  appendWork: StorageAppendMessage[];
  applyWork: StorageApplyMessage[];
}

class World {
  readonly dice: (n: number) => number;
  readonly all: Replica[] = [];
  wire: NetworkMessage[] = [];
  /** What was committed anywhere, by index: must never differ. */
  readonly committed = new Map<number, string>();
  readonly leaders = new Map<number, number>();
  proposals = 0;
  reads = 0;
  /** Commit index over all when a read was asked: its answer must not be below. */
  readonly readFloor = new Map<number, number>();

  constructor(seed: number) {
    this.dice = createDice(seed);
    const [preVote, checkQuorum] = [this.dice(2) === 0, this.dice(2) === 0];
    for (const own of range(1, replicas)) {
      const log = new MemoryLog();
      log.membership = {
        ...emptyMembership,
        voters: range(1, voters) as StoreId[],
      };
      const config: RaftConfig = {
        id: own as StoreId,
        log,
        appliedIndex: 0 as LogIndex,
        electionTicks: 5,
        heartbeatTicks: 1,
        random: this.dice,
        asyncStorageWrites: true,
        preVote,
        checkQuorum,
        maxSizePerMsg: 40,
        maxCommittedSizePerReady: 60,
        maxUncommittedSize: 200,
        maxInflightMsgs: 3,
        maxInflightBytes: 100,
        readOnly: "safe",
      };
      const node = createRaftNode(config);
      this.all.push({ node, config, log, appendWork: [], applyWork: [] });
    }
  }

  get highest(): number {
    return Math.max(0, ...this.committed.keys());
  }

  /** The newest: a removed one may not have heard that it is over. */
  get leader(): Replica | undefined {
    const leaders = this.all.filter(({ node }) => node.role === "leader");
    return leaders.sort((a, b) => b.node.term - a.node.term)[0];
  }

  pick(): Replica {
    return this.all[this.dice(this.all.length)] as Replica;
  }

  act(): void {
    const replica = this.pick();
    const choice = this.dice(100);
    if (choice < 40) this.deliver();
    else if (choice < 60) this.takeReady(replica);
    else if (choice < 75) this.doAppend(replica);
    else if (choice < 85) this.doApply(replica);
    else if (choice < 90) replica.node.tick();
    else if (choice < 96) this.propose(replica);
    else if (this.dice(4) > 0) this.read(replica);
    else this.disturb(replica);
    this.check();
  }

  disturb(replica: Replica): void {
    const choice = this.dice(6);
    if (choice < 2) this.changeMembers(replica);
    else if (choice === 2) this.crash(replica);
    else if (choice === 3) this.compact(replica);
    else this.control(replica);
  }

  deliver(): void {
    if (this.wire.length === 0) return;
    const at = this.dice(Math.min(this.wire.length, 8));
    const message = this.wire[at] as NetworkMessage;
    const fate = this.dice(20);
    if (fate !== 0) this.wire.splice(at, 1);
    if (fate === 1) return;
    // Through the codec: what does not survive it does not count.
    this.all[message.to - 1]?.node.step(decodeMessage(encodeMessage(message)));
  }

  takeReady(replica: Replica): void {
    if (!replica.node.hasReady()) return;
    const ready = replica.node.ready();
    for (const { requestId, index } of ready.readStates) {
      const floor = this.readFloor.get(requestId) ?? 0;
      assert.ok(index >= floor, `read ${requestId} at ${index} misses ${floor}`);
    }
    for (const message of ready.messages) {
      if (message.kind === "storageAppend") replica.appendWork.push(message);
      else if (message.kind === "storageApply") replica.applyWork.push(message);
      else this.wire.push(message as NetworkMessage);
    }
  }

  doAppend(replica: Replica): void {
    const work = replica.appendWork.shift();
    if (work === undefined) return;
    const { log } = replica;
    if (work.hardState !== null) log.hardState = work.hardState;
    if (work.snapshot !== null && work.snapshot.index > (log.newest?.index ?? 0)) {
      log.applySnapshot(work.snapshot);
    }
    log.append(work.entries);
    this.respond(replica, work.responses);
  }

  doApply(replica: Replica): void {
    const work = replica.applyWork.shift();
    if (work === undefined) return;
    for (const { index, term, type, data } of work.entries) {
      const applied = replica.log.newest?.index ?? 0;
      // A snapshot that was installed meanwhile has it.
      if (index <= applied) continue;
      assert.equal(index, applied + 1, "applied in order, each once");
      if (type !== "normal") replica.node.applyConfChange(decodeConfChange(data));
      replica.log.newest = { index, term, membership: replica.node.membership };
    }
    this.respond(replica, work.responses);
  }

  respond(replica: Replica, responses: readonly Message[]): void {
    for (const message of responses) {
      if (message.to === replica.node.id || isLocalTarget(message.from)) replica.node.step(message);
      else this.wire.push(message as NetworkMessage);
    }
  }

  propose(replica: Replica): void {
    replica.node.propose(Buffer.from(`p${++this.proposals}`));
  }

  changeMembers(replica: Replica): void {
    const types: readonly MemberChangeType[] = ["addVoter", "addLearner", "remove", "addVoter"];
    const changes = range(0, this.dice(3)).map(() => ({
      type: types[this.dice(types.length)] as MemberChangeType,
      id: (1 + this.dice(replicas)) as StoreId,
    }));
    const transitions = ["auto", "jointImplicit", "jointExplicit"] as const;
    const transition = transitions[this.dice(3)] ?? "auto";
    const isLeaving = this.dice(4) === 0;
    replica.node.proposeConfChange({
      kind: "v2",
      transition: isLeaving ? "auto" : transition,
      changes: isLeaving ? [] : changes,
      context: Buffer.alloc(0),
    });
  }

  /** Writes that were not done are lost; what is on the wire is not. */
  crash(replica: Replica): void {
    const { log, config } = replica;
    const applied = (log.newest?.index ?? 0) as LogIndex;
    if (log.newest !== null) log.membership = log.newest.membership;
    const commit = Math.max(log.hardState.commit, applied) as LogIndex;
    log.hardState = { ...log.hardState, commit };
    replica.node = createRaftNode({ ...config, appliedIndex: applied });
    replica.appendWork = [];
    replica.applyWork = [];
  }

  compact(replica: Replica): void {
    const applied = Math.min(replica.node.appliedIndex, replica.log.lastIndex());
    if (applied >= replica.log.firstIndex()) replica.log.compact(applied as LogIndex);
  }

  read(replica: Replica): void {
    const requestId = ++this.reads;
    this.readFloor.set(requestId, this.highest);
    replica.node.readIndex(requestId);
  }

  control(replica: Replica): void {
    const other = (1 + this.dice(replicas)) as StoreId;
    const choice = this.dice(5);
    if (choice === 0) replica.node.transferLeadership(other);
    else if (choice === 1) replica.node.forgetLeader();
    else if (choice === 2) replica.node.reportUnreachable(other);
    else if (choice === 3) replica.node.reportSnapshot(other, this.dice(2) === 0);
    else replica.node.campaign();
  }

  /** Figure 3: election safety, log matching of what is committed, state machine safety. */
  check(): void {
    for (const { node, log } of this.all) {
      if (node.role !== "leader") continue;
      const known = this.leaders.get(node.term) ?? node.id;
      assert.equal(node.id, known, `two leaders in term ${node.term}`);
      if (!this.leaders.has(node.term)) this.checkCompleteness(node, log);
      this.leaders.set(node.term, node.id);
    }
    for (const replica of this.all) {
      for (const work of replica.applyWork) {
        for (const entry of work.entries) this.note(entry, replica);
      }
    }
  }

  note(entry: Entry, replica: Replica): void {
    const text = `${entry.term} ${entry.type} ${entry.data.toString("latin1")}`;
    const known = this.committed.get(entry.index) ?? text;
    assert.equal(text, known, `entry ${entry.index} differs on ${replica.node.id}`);
    this.committed.set(entry.index, text);
  }

  checkCompleteness(node: RaftNode, log: MemoryLog): void {
    assert.ok(node.lastIndex >= this.highest, `leader ${node.id} misses committed entries`);
    for (const [index, text] of this.committed) {
      if (index < log.firstIndex() || index > log.lastIndex()) continue;
      const [entry] = log.entries(index as LogIndex, (index + 1) as LogIndex, 1);
      // The log in memory may be newer than the disk; a committed entry is the same in both.
      if (entry !== undefined && index <= (log.newest?.index ?? 0)) {
        assert.equal(`${entry.term} ${entry.type} ${entry.data.toString("latin1")}`, text);
      }
    }
  }

  /** No more faults: whatever was going on, a voter leads and a new proposal is applied. */
  heal(): void {
    const target = `end${this.proposals}`;
    for (let round = 0; round < 400; round++) {
      for (const replica of this.all) {
        replica.node.tick();
        for (let i = 0; i < 20 && replica.node.hasReady(); i++) this.takeReady(replica);
        while (replica.appendWork.length > 0) this.doAppend(replica);
        this.check();
        while (replica.applyWork.length > 0) this.doApply(replica);
      }
      const messages = this.wire;
      this.wire = [];
      for (const message of messages) this.all[message.to - 1]?.node.step(message);
      for (const { node } of this.all) {
        for (const { id, state } of node.status().progress) {
          if (state === "snapshot" && round % 7 === 0) node.reportSnapshot(id, false);
        }
      }
      if (round % 15 === 0) this.handOver(round);
      if (round % 10 === 9) this.leader?.node.propose(Buffer.from(target));
      if (this.isConverged(target)) return;
    }
    const states = this.all.map(({ node }) => JSON.stringify(node.status()));
    assert.fail(["a healed group makes no progress", ...states].join("\n"));
  }

  /** A leader that is no voter any more hands over, as its driver must see to. */
  handOver(round: number): void {
    for (const { node } of this.all) {
      const { voters } = node.membership;
      if (node.role !== "leader" || voters.includes(node.id)) continue;
      node.transferLeadership(voters[(round / 15) % voters.length] as StoreId);
    }
  }

  isConverged(target: string): boolean {
    const [index] = [...this.committed].find(([, text]) => text.endsWith(target)) ?? [];
    if (index === undefined) return false;
    const members = this.leader?.node.membership.voters;
    if (members === undefined) return false;
    return members.every((own) => (this.all[own - 1]?.log.newest?.index ?? 0) >= index);
  }
}

test(`${seeds.length} random schedules keep every promise`, () => {
  let commits = 0;
  let terms = 0;
  for (const seed of seeds) {
    const world = new World(seed);
    try {
      for (let step = 0; step < steps; step++) world.act();
      world.heal();
    } catch (error) {
      const text = error instanceof Error ? error.stack : String(error);
      assert.fail(`SEED=${seed} ${text}`);
    }
    commits += world.highest;
    terms += world.leaders.size;
  }
  // Else the schedules would be too hostile to show anything.
  if (seeds.length > 1) assert.ok(commits > 30 * seeds.length, `${commits} commits`);
  if (seeds.length > 1) assert.ok(terms > 1.5 * seeds.length, `${terms} terms`);
});
