/**
 * Whoever looks after the cluster: replaces nodes, alive or lost with their disks, and lets it grow
 * and shrink, through any node's member service. One thing at a time, so that never more than one
 * replica of a group is lost.
 */
import type { QueueError } from "../../../src/base/errors.ts";
import type { MemberService } from "../../../src/node/member-service.ts";
import { Stream } from "../random.ts";
import { must } from "../violation.ts";
import type { ClusterSim } from "./cluster-sim.ts";
import type { SimNode } from "./sim-node.ts";

/** Longer than a member service tries. */
const patienceMs = 25_000;
const lookMs = 50;

export class MemberOperator {
  /** Nodes that shall be members. */
  readonly members = new Set<SimNode>();
  isBusy = false;
  private readonly sim: ClusterSim;
  private readonly random: Stream;

  constructor(sim: ClusterSim) {
    this.sim = sim;
    this.random = new Stream(sim.scenario.seed, "member operator");
  }

  /** An empty node takes the place of one that is alive, down, or lost. */
  replace(): void {
    const { random, members } = this;
    if (members.size < 3) return;
    this.act(async () => {
      const node = random.pick([...members]);
      const loss = random.pick(["none", "none", "ends", "wiped", "rotten"] as const);
      node.isKeptUp = loss === "none";
      if (loss === "ends") node.crash("power");
      else if (loss === "wiped") node.wipe();
      else if (loss === "rotten") await this.rot(node);
      await this.remove(node);
      await this.add(node);
    });
  }

  /** Three nodes become five, five become three. */
  resize(): void {
    const { members, sim } = this;
    this.act(async () => {
      if (members.size < 5) {
        for (const node of [sim.addNode(), sim.addNode()]) await this.add(node);
        return;
      }
      for (let i = 0; i < 2; i++) {
        const node = this.random.pick([...members]);
        await this.remove(node);
        sim.dropNode(node);
      }
    });
  }

  private act(action: () => Promise<void>): void {
    if (this.isBusy || !this.sim.isFounded) return;
    this.isBusy = true;
    action()
      .then(() => this.settled())
      .then(() => {
        this.isBusy = false;
      })
      .catch((error: unknown) => this.sim.fail(error));
  }

  /** New members are voters: only then another one may be lost. */
  private async settled(): Promise<void> {
    while (!this.sim.isSettled) await this.sim.sleep(lookMs);
    this.sim.trace("members are settled");
  }

  /** The node ends, its store rots, and it must not start any more. */
  private async rot(node: SimNode): Promise<void> {
    const { sim, random } = this;
    node.crash("power");
    const shard = random.pick(sim.shardIds);
    if (!node.damage(shard, random.pick(["log", "table"]))) return;
    while (node.state !== "refused") {
      must(node.state !== "up", "a damaged store is refused", node.name);
      // Something else may end the start.
      if (node.state === "down") node.start();
      await sim.sleep(lookMs);
    }
  }

  private async remove(node: SimNode): Promise<void> {
    const { sim, members, random } = this;
    members.delete(node);
    sim.trace(`remove ${node.name}`);
    await this.ask((service) => service.remove(node.name).catch(unlessGone));
    sim.trace(`removed ${node.name}`);
    // It does not know yet, or never hears of it.
    await sim.sleep(random.pick([0, 0, 500, 3_000]));
    node.isKeptUp = false;
    node.wipe();
  }

  private async add(node: SimNode): Promise<void> {
    const { sim, members } = this;
    node.isKeptUp = true;
    node.start();
    sim.trace(`add ${node.name}`);
    await this.ask((service) => service.add(node.address));
    members.add(node);
    sim.trace(`added ${node.name}`);
  }

  /** Asks one node after the other until it is done. */
  private async ask(action: (service: MemberService) => Promise<unknown>): Promise<void> {
    const { sim, random, members } = this;
    for (;;) {
      const up = [...members].filter((node) => node.members !== null);
      const node = up.length > 0 ? random.pick(up) : null;
      if (node?.members && (await this.isDone(node, action(node.members)))) return;
      await sim.sleep(random.pick([50, 300]));
    }
  }

  private async isDone(node: SimNode, action: Promise<unknown>): Promise<boolean> {
    const { sim } = this;
    const { members: service } = node;
    let outcome: "waiting" | "done" | "failed" = "waiting";
    action.then(
      () => {
        outcome = "done";
      },
      (error: QueueError) => {
        outcome = "failed";
        sim.trace(`${node.name} says ${error.message}`);
      },
    );
    const endUs = sim.time.nowUs + patienceMs * 1000;
    // A process that has ended says nothing more.
    while (outcome === "waiting" && sim.time.nowUs < endUs && node.members === service) {
      await sim.sleep(lookMs);
    }
    return (outcome as string) === "done";
  }
}

/** An earlier try has done it, although its answer was lost. */
function unlessGone(error: QueueError): void {
  if (error.code !== "not_found") throw error;
}
