/**
 * A whole cluster in virtual time: real consensus, queue, shards, routers and membership; simulated
 * network, disks, clocks. Faults first, while only safety counts; then a healthy time, at first with
 * less than a majority left broken, in which everything that was acknowledged must come to its end;
 * then all nodes stop, and their replicas are compared.
 */
import { type ShardId, toShardId } from "../../../src/base/brand.ts";
import type { ShardRouter } from "../../../src/router/shard-router.ts";
import { shardFrames } from "../../../src/shard/replica-frames.ts";
import type { NodeAddress } from "../../../src/transport/transport.ts";
import { VirtualTime } from "../clock.ts";
import type { Figures } from "../play.ts";
import { Stream } from "../random.ts";
import { TraceHash } from "../trace.ts";
import { must } from "../violation.ts";
import { Checks, sameRows, sameStates } from "./checks.ts";
import { Producer, Reader, Worker } from "./clients.ts";
import { MemberOperator } from "./member-operator.ts";
import { Nemesis } from "./nemesis.ts";
import { SimNet } from "./net.ts";
import { RaftWatch } from "./raft-watch.ts";
import { RoleWatch } from "./role-watch.ts";
import type { ClusterScenario } from "./scenario.ts";
import { SimNode } from "./sim-node.ts";
import { StateWatch } from "./state-watch.ts";
import { TaskHistories } from "./task-history.ts";

const drainMs = 60_000;
/**
 * A leader that probes a member sends the same entries again with each heartbeat: on a line of
 * 100 kB/s more than a minute's worth of them may be under way when the faults end.
 */
const catchUpMs = 240_000;
/** Ms until an ended process is started again. */
const restarts = [0, 5, 100, 600, 2_500];

/** What a client has asked of a process. */
export interface Request {
  readonly node: SimNode;
  readonly router: ShardRouter;
}

export type ClusterReport = Figures & { readonly hash: string };

export class ClusterSim {
  readonly scenario: ClusterScenario;
  readonly time = new VirtualTime();
  readonly net: SimNet;
  readonly checks: Checks;
  readonly histories: TaskHistories;
  readonly nodes: SimNode[] = [];
  readonly shardIds: readonly ShardId[];
  readonly operator: MemberOperator;
  readonly reader: Reader;
  readonly counts = { acknowledged: 0, faults: 0, crashes: 0, partitions: 0, snapshots: 0 };
  readonly clientRandom: Stream;
  /** Clients that may still change something. */
  readonly atWork = new Set<object>();
  /** Requests that no answer came to yet. */
  readonly unanswered = new Set<Request>();
  draining = false;
  over = false;
  private readonly spares: SimNode[] = [];
  private readonly broken = new Set<SimNode>();
  private readonly watch: RaftWatch;
  private readonly roles: RoleWatch;
  private readonly states: StateWatch;
  private readonly nemesis: Nemesis;
  private readonly random: Stream;
  private readonly log: ((line: string) => void) | null;
  private failure: { readonly error: unknown } | null = null;
  private readonly hash = new TraceHash();

  constructor(scenario: ClusterScenario, log: ((line: string) => void) | null) {
    const { seed, founders, shards } = scenario;
    this.scenario = scenario;
    this.log = log;
    this.random = new Stream(seed, "cluster");
    this.clientRandom = new Stream(seed, "clients");
    this.checks = new Checks(
      scenario,
      (line) => this.trace(line),
      () => this.time.nowUs,
    );
    this.histories = new TaskHistories(() => this.time.nowUs);
    this.net = new SimNet(this.time, new Stream(seed, "net"), scenario.net);
    this.net.onRejected = (text) => this.fail(new Error(`a node was refused: ${text}`));
    this.shardIds = Array.from({ length: shards }, (_, i) => toShardId(i));
    this.watch = new RaftWatch(this.nodes, this.shardIds);
    this.roles = new RoleWatch(this.nodes, this.net, () => this.time.nowUs);
    this.states = new StateWatch(this.nodes, scenario.compareEvery);
    this.net.onSent = (from, group, type, body) => {
      this.guard(() => this.watch.sent(from, group, type, body));
      const isOffer = type === shardFrames.snapshotOffer && group < shards;
      if (isOffer) this.nemesis.stateOffered(toShardId(group));
    };
    this.operator = new MemberOperator(this);
    this.reader = new Reader(this);
    this.nemesis = new Nemesis(this);
    for (let i = 1; i <= founders; i++) {
      const node = new SimNode(this, `n${i}`, true);
      node.isKeptUp = true;
      this.nodes.push(node);
      this.operator.members.add(node);
    }
  }

  // Nodes

  /** Where a node that starts looks for others. */
  configuredPeers(node: SimNode): NodeAddress[] {
    const known = node.isFounder ? this.nodes.filter(({ isFounder }) => isFounder) : this.nodes;
    return known.filter((other) => other !== node).map(({ address }) => address);
  }

  isBootstrap({ name }: SimNode): boolean {
    return name === "n1";
  }

  get isFounded(): boolean {
    return this.shardIds.every((shard) => this.watch.hasLeader(shard));
  }

  /** A node that belongs to nothing yet; under a name that another one had, if there was one. */
  addNode(): SimNode {
    const node =
      this.spares.shift() ??
      new SimNode(this, `n${this.nodes.length + this.spares.length + 1}`, false);
    this.nodes.push(node);
    return node;
  }

  dropNode(node: SimNode): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    this.spares.push(node);
  }

  leaderOf(shard: ShardId): SimNode | undefined {
    return this.nodes.find(({ shards }) => shards[shard]?.leads);
  }

  /** A process has ended: its supervisor starts it again. */
  nodeEnded(node: SimNode): void {
    if (this.over) return;
    const wait = this.draining ? 20 : this.random.pick(restarts);
    this.time.after(wait * 1000, () => {
      if (!this.over && node.isKeptUp && node.state === "down" && !this.broken.has(node))
        node.start();
    });
  }

  refused(node: SimNode, error: Error): void {
    if (node.isKeptUp) this.fail(error);
  }

  // The run

  async run(): Promise<ClusterReport> {
    const { scenario, nodes } = this;
    for (const node of nodes) node.start();
    for (let i = 0; i < 3; i++) new Producer(this, i).start();
    for (let i = 0; i < 3; i++) new Worker(this, i).start();
    this.reader.start();
    this.nemesis.start();
    await this.until(
      "the faults' time",
      () => this.time.nowUs >= scenario.faultMs * 1000,
      scenario.faultMs + 1000,
    );
    this.endFaults();
    await this.until("all that was acknowledged is settled", () => this.isDrained(), drainMs);
    this.trace("drained");
    this.over = true;
    for (const node of this.broken) if (node.state === "down") node.start();
    this.broken.clear();
    this.net.healAll();
    await this.until(
      "all is answered, all replicas have applied everything",
      () => this.isEven(),
      catchUpMs,
    );
    for (const shard of this.shardIds) sameStates([...this.operator.members], shard);
    for (const node of nodes) node.stop();
    await this.until("all stop", () => nodes.every(({ state }) => state === "down"), drainMs);
    return this.report();
  }

  /** No more faults; less than a majority may stay broken. */
  private endFaults(): void {
    const { scenario, nodes, net, operator } = this;
    this.trace("faults end");
    this.draining = true;
    net.healAll();
    const { members } = operator;
    // While a change is under way every member may be needed.
    if (scenario.leavesSomeBroken && !operator.isBusy && this.isSettled) {
      for (const node of [...members].slice(Math.ceil((members.size + 1) / 2))) this.break(node);
    }
    for (const node of nodes) {
      node.disk.failingSyncs = 0;
      node.disk.full = false;
      node.stall(0, 1);
      if (node.isKeptUp && node.state === "down" && !this.broken.has(node)) node.start();
    }
    this.nemesis.end();
  }

  private break(node: SimNode): void {
    this.trace(`${node.name} stays broken`);
    this.broken.add(node);
    if (this.random.chance(0.5)) {
      node.crash("power");
      return;
    }
    for (const other of this.nodes) {
      if (other === node) continue;
      this.net.cut(node.name, other.name);
      this.net.cut(other.name, node.name);
    }
  }

  private report(): ClusterReport {
    const { time, counts, checks } = this;
    const { memberChanges } = checks;
    const simulatedMs = Math.floor(time.nowUs / 1000);
    return {
      ...{ hash: this.hash.text(), simulatedMs, events: time.events },
      ...counts,
      ...{ memberChanges, leaders: this.watch.leaders },
    };
  }

  private isDrained(): boolean {
    const { created, settled } = this.checks;
    if (this.operator.isBusy) return false;
    for (const id of created.values()) if (!settled.has(id) && !this.isEmpty()) return false;
    return [...this.operator.members].every((node) => node.state === "up" || this.broken.has(node));
  }

  /** A settle may have happened although its answer was lost. */
  private isEmpty(): boolean {
    return this.shardIds.every((shard) => {
      const replica = this.leaderOf(shard)?.shards[shard];
      const queue = replica?.state.findQueue("t", "q");
      return replica && (!queue || queue.readyTotal + queue.delayed + queue.leased === 0);
    });
  }

  /** Every node that shall be a member is a voter of every shard, and nobody else. */
  get isSettled(): boolean {
    const { size } = this.operator.members;
    return this.shardIds.every((shard) => {
      const consensus = this.leaderOf(shard)?.shards[shard]?.consensus;
      // Before it is in force for good nobody else may be lost.
      if (!consensus || consensus.membership.isBusy()) return false;
      const { voters, learners } = consensus.settledMembers();
      return voters.length === size && learners.length === 0;
    });
  }

  private isEven(): boolean {
    const { members } = this.operator;
    if (this.atWork.size > 0 || this.waits()) return false;
    return this.shardIds.every((shard) => {
      const applied = new Set<number>();
      for (const { shards, state } of members) {
        const replica = shards[shard];
        if (!replica || state !== "up") return false;
        const { lastIndex } = replica.consensus.raft;
        if (replica.stats().applied !== lastIndex) return false;
        applied.add(lastIndex);
      }
      return applied.size === 1;
    });
  }

  /** Whether a process that lives still owes somebody an answer. */
  private waits(): boolean {
    return [...this.unanswered].some(({ node, router }) => node.router === router);
  }

  /** After the stop: what lies on the disks, and what clients saw. */
  compare(): void {
    this.histories.check();
    for (const shard of this.shardIds) sameRows([...this.operator.members], shard);
  }

  // Time

  /** Runs until the condition holds; it must within so many virtual ms. */
  private async until(what: string, holds: () => boolean, withinMs: number): Promise<void> {
    const endUs = this.time.nowUs + withinMs * 1000;
    let isOver = false;
    const look = () => {
      isOver = holds() || this.time.nowUs > endUs;
      if (!isOver) this.time.after(this.scenario.lookEveryMs * 1000, look);
    };
    look();
    await this.time.run(() => {
      this.guard(() => {
        this.watch.look();
        this.roles.look();
        this.states.look();
      });
      this.nemesis.step();
      return isOver || this.failure !== null;
    });
    if (this.failure) throw this.failure.error;
    must(holds(), what, this.stateText());
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.time.after(ms * 1000, resolve));
  }

  guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.failure ??= { error };
  }

  trace(line: string): void {
    this.hash.add(this.time.nowUs, line);
    this.log?.(`${(this.time.nowUs / 1000).toFixed(3).padStart(11)} ms  ${line}`);
  }

  private stateText(): string {
    const groups = this.nodes.map((node) => {
      const shards = node.shards.map((shard) => {
        if (!shard) return "-";
        const { role, term, commit, applied, lastIndex } = shard.stats();
        const { voters, learners } = shard.consensus.raft.membership;
        return `${role} ${term} ${commit}/${applied}/${lastIndex} of ${voters.length}+${learners.length}`;
      });
      return `${node.name} ${node.state} ${shards.join(",")}`;
    });
    const { created, settled } = this.checks;
    const { isBusy } = this.operator;
    const counts = `${created.size} created, ${settled.size} settled`;
    return `${counts}, changing ${isBusy}, asking ${this.waits()}; ${groups.join("; ")}`;
  }
}

/** Plays one scenario. @throws Violation, or whatever a node runs into */
export async function simulateCluster(
  scenario: ClusterScenario,
  log: ((line: string) => void) | null = null,
): Promise<ClusterReport> {
  const sim = new ClusterSim(scenario, log);
  const report = await sim.run();
  sim.compare();
  return report;
}
