/** Brings the faults of a cluster's scenario about, as long as the fault phase lasts. */
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

export class Nemesis {
  private readonly sim: ClusterSim;
  private readonly random: Stream;
  private readonly kinds: readonly Fault[];
  private crashAt: { readonly event: number; readonly node: SimNode } | null = null;

  constructor(sim: ClusterSim) {
    this.sim = sim;
    this.random = new Stream(sim.scenario.seed, "nemesis");
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
        node.stalledUntilUs = sim.time.nowUs + 1000 * random.pick([100, 1_000, 4_000]);
        return;
      case "pause":
        this.pause(node, random.pick([30, 200, 1_000, 4_000]));
        return;
      case "jump":
        node.machine.jump(random.pick([-1, 1]) * random.pick(jumps));
        return;
      case "transfer":
        this.transfer();
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
      const leader = sim.leaderOf(random.pick(sim.shardIds));
      if (leader) this.partition(this.oneWay(bothWays(around(leader.name, names))));
    } else this.partition(this.oneWay(this.shape(node.name, names)));
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
    sim.counts.partitions++;
    for (const [from, to] of cut) sim.net.cut(from, to);
    sim.time.after(random.around(random.pick(sim.scenario.holdsMs)) * 1000, () => {
      if (sim.draining) return; // all of them are healed then
      for (const [from, to] of cut) sim.net.heal(from, to);
    });
  }

  private pause(node: SimNode, ms: number): void {
    node.machine.pause(ms);
    this.sim.net.paused(node.name, node.machine.pausedUntilUs);
  }

  private transfer(): void {
    const { sim, random } = this;
    const shard = random.pick(sim.shardIds);
    const { consensus } = sim.leaderOf(shard)?.shards[shard] ?? {};
    if (consensus) consensus.transferTo(random.pick(consensus.raft.membership.voters));
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
