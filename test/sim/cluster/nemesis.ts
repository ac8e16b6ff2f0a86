/** Brings the faults of a cluster's scenario about, as long as the fault phase lasts. */
import type { ShardId } from "../../../src/base/brand.ts";
import { Stream } from "../random.ts";
import type { ClusterSim } from "./cluster-sim.ts";
import type { Fault } from "./scenario.ts";
import type { SimNode } from "./sim-node.ts";

/** One direction of one link: names of machines. */
type Direction = readonly [from: string, to: string];

const jumps = [1_000, 60_000, 3_600_000];
/** How much more often than the others some families strike. */
const weights: Partial<Record<Fault, number>> = { crash: 2, partition: 3, isolateLeader: 3 };
/** Events until a node is ended: often within one write. */
const crashEvents = [1, 3, 10, 40];
/** How much slower than usual a disk gets: a write may outlive the term that it began in. */
const stalls = [40, 40, 1_000];

export class Nemesis {
  private readonly sim: ClusterSim;
  private readonly random: Stream;
  /** Of how a fault strikes. */
  private readonly manner: Stream;
  private readonly kinds: readonly Fault[];
  private crashAt: { readonly event: number; readonly node: SimNode } | null = null;

  constructor(sim: ClusterSim) {
    this.sim = sim;
    this.random = new Stream(sim.scenario.seed, "nemesis");
    this.manner = new Stream(sim.scenario.seed, "nemesis manner");
    this.kinds = [...sim.scenario.faults].flatMap((kind) => Array(weights[kind] ?? 1).fill(kind));
  }

  start(): void {
    const { sim, random, kinds } = this;
    sim.time.after(random.around(sim.scenario.faultEveryMs) * 1000, () => {
      if (sim.draining) return;
      sim.guard(() => this.strike(random.pick(kinds)));
      this.start();
    });
  }

  /** After every event. */
  step(): void {
    if (!this.crashAt || this.sim.time.events < this.crashAt.event) return;
    const { node } = this.crashAt;
    this.crashAt = null;
    if (!this.sim.draining) this.crash(node);
  }

  private strike(kind: Fault): void {
    const { random, sim } = this;
    const node = random.pick(sim.nodes);
    sim.trace(`fault ${kind} ${node.name}`);
    sim.counts.faults++;
    switch (kind) {
      case "crash":
        this.crash(node);
        return;
      case "crashSoon":
        this.crashAt = { event: sim.time.events + random.pick(crashEvents), node };
        return;
      case "crashAll":
        for (const one of sim.nodes) this.crash(one);
        return;
      case "stop":
        node.stop();
        return;
      case "sync":
        node.disk.failingSyncs = 1;
        return;
      case "full":
        node.disk.full = true;
        sim.time.after(random.around(300) * 1000, () => {
          node.disk.full = false;
        });
        return;
      case "stall":
        node.stall(random.pick([100, 1_000, 4_000]), this.manner.pick(stalls));
        return;
      case "pause":
        this.pause(node, random.pick([30, 200, 1_000, 4_000]));
        return;
      case "jump":
        node.machine.jump(random.pick([-1, 1]) * random.pick(jumps));
        return;
      case "transfer":
        this.handOver(random.pick(sim.shardIds), this.manner.chance(0.5));
        return;
      case "replace":
        sim.operator.replace();
        return;
      case "resize":
        sim.operator.resize();
        return;
      default:
        this.strikeNet(kind, node);
    }
  }

  private strikeNet(kind: Fault, node: SimNode): void {
    const { random, sim } = this;
    const names = sim.nodes.map(({ name }) => name);
    if (kind === "clog") {
      const other = random.pick(names);
      const untilUs = sim.time.nowUs + 1000 * random.pick([50, 400, 2_000]);
      if (other !== node.name) sim.net.clog(node.name, other, untilUs);
      return;
    }
    if (kind === "cut") this.partition(bothWays([[node.name, random.pick(names)]]));
    else if (kind === "isolateLeader") {
      // Again and again: logs then end in what several leaders wrote.
      const shard = random.pick(sim.shardIds);
      const leader = sim.leaderOf(shard);
      if (!leader) return;
      const cut = bothWays(around(leader.name, names));
      if (this.manner.chance(0.4)) this.isolateInAWrite(leader, shard, cut);
      else this.partition(this.oneWay(cut));
    } else this.partition(this.oneWay(this.shape(node.name, names)));
  }

  /** What a leader is about to write is replaced by the next leader before it is written. */
  private isolateInAWrite(leader: SimNode, shard: ShardId, cut: readonly Direction[]): void {
    const { sim, manner } = this;
    const untilUs = sim.time.nowUs + 2_000_000;
    leader.stall(2_000, 1_000_000 / leader.diskUs);
    this.cut(cut);
    const look = () => {
      const isReplaced = sim.nodes.some((node) => node !== leader && node.shards[shard]?.leads);
      if (isReplaced || sim.time.nowUs > untilUs) this.heal(cut);
      else sim.time.after(manner.around(20) * 1000, look);
    };
    look();
  }

  private shape(one: string, names: readonly string[]): Direction[] {
    const { random } = this;
    const all = random.chance(0.3) ? [...names] : shuffled(names, random);
    const half = Math.ceil(all.length / 2);
    switch (random.between(0, 4)) {
      case 0:
        return bothWays(around(one, names));
      case 1: // halves
        return between(all.slice(0, half), all.slice(half));
      case 2: // each node in a part by chance
        return between(
          names.filter((_, i) => (i + all.length) % 2 === 0),
          names.filter((_, i) => (i + all.length) % 2 === 1),
        );
      case 3: // two halves, and one node that sees both
        return between(all.slice(1, half), all.slice(half));
      default: // a chain: each sees its neighbours only
        return all.flatMap((a, i) => bothWays(all.slice(i + 2).map((b) => [a, b] as const)));
    }
  }

  /** Half of all partitions let the other direction through, where that is possible. */
  private oneWay(directions: Direction[]): Direction[] {
    const { random } = this;
    if (random.chance(0.6)) return directions;
    const keepsFirst = random.chance(0.5);
    return directions.filter(([from, to]) => from < to === keepsFirst);
  }

  private partition(directions: readonly Direction[]): void {
    const { sim, random } = this;
    const cut = directions.filter(([from, to]) => from !== to);
    if (cut.length === 0) return;
    this.cut(cut);
    sim.time.after(random.around(random.pick(sim.scenario.holdsMs)) * 1000, () => this.heal(cut));
  }

  private cut(directions: readonly Direction[]): void {
    const { net, counts } = this.sim;
    counts.partitions++;
    for (const [from, to] of directions) net.cut(from, to);
  }

  private heal(directions: readonly Direction[]): void {
    const { net, draining } = this.sim;
    if (draining) return; // all of them are healed then
    for (const [from, to] of directions) net.heal(from, to);
  }

  private pause(node: SimNode, ms: number): void {
    node.machine.pause(ms);
    this.sim.net.paused(node.name, node.machine.pausedUntilUs);
  }

  /** @param inVain - the word to stand for election is late, or lost with its connection */
  private handOver(shard: ShardId, inVain: boolean): void {
    const { sim, manner } = this;
    const leader = sim.leaderOf(shard);
    const { consensus } = leader?.shards[shard] ?? {};
    if (!leader || !consensus) return;
    const target = manner.pick(consensus.raft.membership.voters);
    const node = sim.nodes.find(({ storeId }) => storeId === target);
    if (inVain && node && node !== leader) {
      sim.counts.partitions++;
      sim.net.cut(leader.name, node.name);
      sim.time.after(manner.pick([100, 400]) * 1000, () => {
        sim.net.heal(leader.name, node.name);
      });
    }
    consensus.transferTo(target);
  }

  /** A leader offers its state to a member: who leads may change before that has it. */
  stateOffered(shard: ShardId): void {
    const { sim, manner } = this;
    if (!sim.scenario.faults.has("transfer") || !manner.chance(0.3)) return;
    sim.time.after(manner.around(300) * 1000, () => {
      if (!sim.draining) this.handOver(shard, false);
    });
  }

  /** The last fault of all, from which the cluster must come back by itself. */
  end(): void {
    const { sim, manner } = this;
    if (!sim.scenario.faults.has("transfer")) return;
    for (const shard of sim.shardIds) if (manner.chance(0.7)) this.handOver(shard, true);
  }

  private crash(node: SimNode): void {
    node.crash(this.random.pick(["kill", "power"]));
  }
}

function bothWays(pairs: readonly Direction[]): Direction[] {
  return pairs.flatMap(([a, b]) => [
    [a, b],
    [b, a],
  ]);
}

function between(some: readonly string[], others: readonly string[]): Direction[] {
  return bothWays(some.flatMap((a) => others.map((b) => [a, b] as const)));
}

function around(one: string, names: readonly string[]): Direction[] {
  return between(
    [one],
    names.filter((name) => name !== one),
  );
}

function shuffled(names: readonly string[], random: Stream): string[] {
  const left = [...names];
  return names.map(() => left.splice(random.between(0, left.length - 1), 1)[0] as string);
}
