/** Brings the faults of a scenario about, as long as the fault phase lasts. */
import type { SimNode } from "./node.ts";
import type { NodeWorld } from "./node-world.ts";
import type { Stream } from "./random.ts";
import type { FaultFamily } from "./scenario.ts";

const jumps = [1_000, 60_000, 3_600_000, 30 * 86_400_000];
/** Events until a process is ended: often within one write, at times within its start. */
const crashEvents = [1, 3, 10, 40, 150];

export class Nemesis {
  private readonly world: NodeWorld;
  private readonly node: SimNode;
  private readonly random: Stream;
  /** The event at which the process ends, by which fault; 0 = none is planned. */
  private crashAt = 0;
  private crashKind: "kill" | "power" = "kill";
  faults = 0;

  constructor(world: NodeWorld) {
    this.world = world;
    this.node = world.node;
    this.random = world.stream("nemesis");
  }

  start(): void {
    const { world, random } = this;
    if (world.draining) return;
    const { faults, faultEveryMs } = world.nodeScenario;
    if (faults.length > 0) this.act(random.pick(faults));
    world.after(random.around(faultEveryMs), () => this.start());
  }

  private act(fault: FaultFamily): void {
    const { node, random, world } = this;
    this.faults++;
    world.trace(`fault ${fault}`);
    switch (fault) {
      case "kill":
      case "power":
        this.crashKind = fault;
        this.crashAt = world.time.events + random.pick(crashEvents);
        return;
      case "restart":
        if (node.state === "up") node.stop();
        return;
      case "sync":
        node.disk.failingSyncs = 1;
        return;
      case "full":
        node.disk.full = true;
        world.after(random.around(300), () => {
          node.disk.full = false;
        });
        return;
      case "jump":
        if (node.state === "starting") return;
        node.machine.jump(random.pick(jumps) * (random.chance(0.5) ? 1 : -1));
        return;
      case "pause":
        node.machine.pause(random.pick([10, 200, 3_000]));
        return;
      case "stall":
        node.stalledUntilUs = world.time.nowUs + 1000 * random.pick([100, 1_500]);
        return;
    }
  }

  /** After every event. */
  step(): void {
    if (this.crashAt === 0 || this.world.time.events < this.crashAt) return;
    this.crashAt = 0;
    if (this.world.draining || this.node.state === "down") return;
    this.node.crash(this.crashKind);
  }

  /** The node has ended: it is started again, at once or after a while. */
  nodeEnded(): void {
    const { world, node, random } = this;
    const wait = random.pick([0, 0, 5, 200, 1_500]);
    world.after(world.draining ? 1 : wait, () => {
      if (node.state === "down") node.start();
    });
  }

  /** No more faults from now on. */
  end(): void {
    const { node, world } = this;
    this.crashAt = 0;
    node.disk.full = false;
    node.disk.failingSyncs = 0;
    node.stalledUntilUs = 0;
    node.machine.pausedUntilUs = Math.min(node.machine.pausedUntilUs, world.time.nowUs);
    node.diskUs = Math.min(node.diskUs, 300);
    if (node.state === "down") node.start();
  }
}
