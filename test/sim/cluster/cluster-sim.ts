/**
 * A whole cluster in virtual time: real consensus, queue, shards and routers; simulated network, disks,
 * clocks. Faults first, while only safety counts; then a healthy time, in which everything that was
 * acknowledged must come to its end; then all nodes stop, and their replicas are compared.
 */
import { type ShardId, toShardId } from "../../../src/base/brand.ts";
import type { Members } from "../../../src/shard/members.ts";
import { VirtualTime } from "../clock.ts";
import { Stream } from "../random.ts";
import { must } from "../violation.ts";
import { Checks, sameRows } from "./checks.ts";
import { Producer, Reader, Worker } from "./clients.ts";
import { SimNet } from "./net.ts";
import { SimNode } from "./sim-node.ts";

const drainMs = 60_000;

export interface ClusterScenario {
  readonly seed: number;
  readonly nodes: number;
  readonly shards: number;
  readonly forward: boolean;
  readonly faultMs: number;
  /** About how many there are in that time. */
  readonly faultCount: number;
  readonly clientEveryMs: number;
  /** Little makes replicas that were away need the whole state. */
  readonly logKeepBytes: number;
  readonly net: { readonly minUs: number; readonly meanUs: number };
  /** Which families of faults there are. */
  readonly faults: ReadonlySet<Fault>;
  readonly readAhead: {
    readonly dueRows: number;
    readonly readyRows: number;
  };
  readonly settings: {
    readonly backoffPolicy: "exp_full_jitter" | "fixed";
    readonly backoffBaseMs: number;
    readonly backoffMaxMs: number;
    readonly doneRetentionMs: number;
    readonly deadRetentionMs: number;
  };
}

export type Fault =
  | "crash"
  | "crashAll"
  | "cut"
  | "isolate"
  | "isolateLeader"
  | "pause"
  | "jump"
  | "transfer"
  | "sync"
  | "stop";

const families: readonly Fault[] = [
  "crash",
  "crashAll",
  "cut",
  "isolate",
  "isolateLeader",
  "pause",
  "jump",
  "transfer",
  "sync",
  "stop",
];

export interface ClusterReport {
  readonly events: number;
  readonly virtualMs: number;
  readonly hash: number;
  readonly acknowledged: number;
  readonly crashes: number;
  readonly partitions: number;
  readonly snapshots: number;
  readonly leaderTerms: number;
}

export class ClusterSim {
  readonly scenario: ClusterScenario;
  readonly time = new VirtualTime();
  readonly net: SimNet;
  readonly checks = new Checks();
  readonly nodes: SimNode[] = [];
  readonly shardIds: readonly ShardId[];
  readonly counts = { acknowledged: 0, crashes: 0, snapshots: 0 };
  readonly clientRandom: Stream;
  draining = false;
  over = false;
  private readonly random: Stream;
  private readonly log: ((line: string) => void) | null;
  private failure: { readonly error: unknown } | null = null;
  private hash = 0x811c9dc5;

  constructor(scenario: ClusterScenario, log: ((line: string) => void) | null) {
    this.scenario = scenario;
    this.log = log;
    this.random = new Stream(scenario.seed, "nemesis");
    const { faults } = scenario;
    const starts: readonly Fault[] = ["crash", "crashAll", "stop", "sync"];
    this.checks.timeIsTold = !(faults.has("jump") && starts.some((kind) => faults.has(kind)));
    this.clientRandom = new Stream(scenario.seed, "clients");
    this.net = new SimNet(this.time, new Stream(scenario.seed, "net"), scenario.net);
    this.shardIds = Array.from({ length: scenario.shards }, (_, i) => toShardId(i));
    for (let i = 1; i <= scenario.nodes; i++) this.nodes.push(new SimNode(this, i));
  }

  get members(): Members {
    return this.nodes.map(({ storeId, name }) => {
      return { storeId, nodeId: name, raft: "", http: `http://${name}`, grpc: name };
    });
  }

  trace(line: string): void {
    for (let i = 0; i < line.length; i++) {
      this.hash = Math.imul(this.hash ^ line.charCodeAt(i), 0x01000193) >>> 0;
    }
    this.hash = Math.imul(this.hash ^ this.time.nowUs, 0x01000193) >>> 0;
    this.log?.(`${(this.time.nowUs / 1000).toFixed(3).padStart(11)} ms  ${line}`);
  }

  fail(error: unknown): void {
    this.failure ??= { error };
  }

  guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.fail(error);
    }
  }

  async run(): Promise<ClusterReport> {
    const { scenario } = this;
    for (const node of this.nodes) node.start(this.members);
    for (let i = 0; i < 3; i++) new Producer(this, i).start();
    for (let i = 0; i < 3; i++) new Worker(this, i).start();
    new Reader(this).start();
    this.nemesis();
    await this.until(
      "the faults' time",
      () => this.time.nowUs >= scenario.faultMs * 1000,
      scenario.faultMs + 1000,
    );
    this.trace("faults end");
    this.draining = true;
    this.net.healAll();
    for (const { disk } of this.nodes) disk.failingSyncs = 0;
    this.keepUp();
    await this.until("all that was acknowledged is settled", () => this.isDrained(), drainMs);
    this.over = true;
    await this.until("all replicas have applied everything", () => this.isEven(), drainMs);
    for (const node of this.nodes) node.stop();
    await this.until("all stop", () => this.nodes.every(({ state }) => state === "down"), drainMs);
    return this.report();
  }

  /** A supervisor: nodes that end are started again. */
  private keepUp(): void {
    if (this.over) return;
    for (const node of this.nodes) if (node.state === "down") node.start(this.members);
    this.time.after(200_000, () => this.keepUp());
  }

  private report(): ClusterReport {
    const { time, counts, net, checks } = this;
    return {
      ...{ events: time.events, virtualMs: Math.floor(time.nowUs / 1000), hash: this.hash },
      ...{
        acknowledged: counts.acknowledged,
        crashes: counts.crashes,
        snapshots: counts.snapshots,
      },
      ...{ partitions: net.cuts, leaderTerms: checks.leaderTerms },
    };
  }

  private isDrained(): boolean {
    const { created, settled } = this.checks;
    for (const id of created.values()) if (!settled.has(id) && !this.isCompleted(id)) return false;
    return this.nodes.every(({ state }) => state === "up");
  }

  /** A settle may have happened although its answer was lost. */
  private isCompleted(_id: string): boolean {
    return this.shardIds.every((shard) => {
      const replica = this.nodes.map(({ shards }) => shards[shard]).find((one) => one?.leads);
      const queue = replica?.state.findQueue("t", "q");
      return (
        replica !== undefined && (!queue || queue.readyTotal + queue.delayed + queue.leased === 0)
      );
    });
  }

  private isEven(): boolean {
    return this.shardIds.every((shard) => {
      const applied = new Set<number>();
      for (const { shards } of this.nodes) {
        const replica = shards[shard];
        if (!replica) return false;
        const { lastIndex } = replica.consensus.raft;
        if (replica.stats().applied !== lastIndex) return false;
        applied.add(lastIndex);
      }
      return applied.size === 1;
    });
  }

  /** After the stop: what lies on the disks. */
  compare(): void {
    for (const shard of this.shardIds) {
      const same = this.nodes.filter(({ disk }) => disk !== null);
      sameRows(same, shard);
    }
  }

  private async until(what: string, holds: () => boolean, withinMs: number): Promise<void> {
    const end = this.time.nowUs + withinMs * 1000;
    let reached = false;
    const beat = () => {
      if (!reached) this.time.after(20_000, beat);
    };
    beat();
    await this.time.run(() => {
      reached = this.failure !== null || holds();
      return reached || this.time.nowUs > end;
    });
    if (this.failure) throw this.failure.error;
    must(reached, what, this.stateText());
  }

  private stateText(): string {
    const groups = this.nodes.map((node) => {
      const shards = node.shards.map((shard) => {
        if (!shard) return "-";
        const { role, term, commit, applied } = shard.stats();
        return `${role} ${term} ${commit}/${applied}/${shard.consensus.raft.lastIndex}`;
      });
      return `${node.name} ${node.state} ${shards.join(",")}`;
    });
    const { created, settled } = this.checks;
    return `${created.size} created, ${settled.size} settled; ${groups.join("; ")}`;
  }

  // Faults

  private nemesis(): void {
    const { random, scenario } = this;
    const kinds = [...scenario.faults];
    this.time.after(random.around(scenario.faultMs / scenario.faultCount) * 1000, () => {
      if (this.draining) return;
      const kind = random.pick(kinds);
      if (kind) this.guard(() => this.strike(kind));
      this.nemesis();
    });
  }

  private strike(kind: Fault): void {
    const { random } = this;
    const node = random.pick(this.nodes);
    this.trace(`fault ${kind} ${node.name}`);
    switch (kind) {
      case "crash":
        this.crash(node);
        return;
      case "crashAll":
        for (const one of this.nodes) this.crash(one);
        return;
      case "stop":
        node.stop();
        this.startLater(node);
        return;
      case "cut":
        this.cut(node, random.pick(this.nodes));
        return;
      case "isolate":
        for (const other of this.nodes) this.cut(node, other);
        return;
      case "isolateLeader": {
        // Again and again: logs then end in what several leaders wrote.
        const leader = this.nodes.find(({ shards }) => shards.some((shard) => shard?.leads));
        for (const other of this.nodes) if (leader) this.cut(leader, other);
        return;
      }
      case "pause":
        node.machine.pause(random.pick([50, 200, 1_000, 4_000]));
        return;
      case "jump":
        node.machine.jump(random.pick([-1, 1]) * random.pick([1_000, 60_000, 3_600_000]));
        return;
      case "transfer":
        for (const shard of node.shards) {
          if (shard?.leads) shard.consensus.transferTo(random.pick(this.nodes).storeId);
        }
        return;
      case "sync":
        node.disk.failingSyncs++;
        this.startLater(node);
    }
  }

  /** Shorter than it takes to notice the silence, by chance: then frames are lost and nobody knows. */
  private get healMs(): number {
    return this.random.pick([300, 900, 2_000]);
  }

  private crash(node: SimNode): void {
    if (node.state === "down") return;
    this.counts.crashes++;
    node.crash(this.random.pick(["kill", "power"]));
    this.startLater(node);
  }

  private startLater(node: SimNode): void {
    this.time.after(this.random.around(1_500) * 1000, () => {
      if (node.state === "down") node.start(this.members);
      else if (!this.draining) this.startLater(node);
    });
  }

  private cut(a: SimNode, b: SimNode): void {
    if (a === b) return;
    this.net.cut(a.storeId, b.storeId);
    this.time.after(this.random.around(this.healMs) * 1000, () => {
      if (!this.draining) this.net.heal(a.storeId, b.storeId);
    });
  }
}

/** Draws a scenario; every family of faults is on or off by itself. */
export function clusterScenario(seed: number): ClusterScenario {
  const random = new Stream(seed, "cluster scenario");
  const faults = new Set(families.filter(() => random.chance(0.5)));
  if (faults.size === 0) faults.add("crash");
  return {
    seed,
    nodes: random.pick([3, 3, 3, 5]),
    shards: random.pick([1, 1, 2]),
    forward: random.chance(0.5),
    faultMs: random.between(5_000, 20_000),
    faultCount: random.pick([12, 12, 40]),
    clientEveryMs: random.pick([20, 60, 200]),
    logKeepBytes: random.pick([0, 2_000, 20_000, 64 * 1024 * 1024]),
    net: random.pick([
      { minUs: 100, meanUs: 200 },
      { minUs: 500, meanUs: 5_000 },
      { minUs: 5_000, meanUs: 20_000 },
    ]),
    faults,
    readAhead: random.pick([
      { dueRows: 1, readyRows: 1 },
      { dueRows: 512, readyRows: 512 },
    ]),
    settings: {
      backoffPolicy: random.pick(["exp_full_jitter", "fixed"]),
      backoffBaseMs: random.pick([10, 300]),
      backoffMaxMs: 2_000,
      // Longer than any wall clock jumps.
      doneRetentionMs: 100 * 86_400_000,
      deadRetentionMs: 100 * 86_400_000,
    },
  };
}

/** Plays one seed. @throws Violation, or whatever a node runs into */
export async function simulateCluster(
  seed: number,
  log: ((line: string) => void) | null = null,
): Promise<ClusterReport> {
  const sim = new ClusterSim(clusterScenario(seed), log);
  const report = await sim.run();
  sim.compare();
  return report;
}
