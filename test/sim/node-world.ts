/** The world of a lone node: its answers may leave before what they tell is durable. */
import { assert } from "../../src/base/assert.ts";
import type { Oracle } from "./checkers/oracle.ts";
import type { SimNode } from "./node.ts";
import type { Scenario } from "./scenario.ts";
import { must } from "./violation.ts";
import { type Service, World, type WorldParts } from "./world.ts";

interface Unconfirmed {
  readonly index: number;
  readonly atUs: number;
  readonly check: () => void;
}

export class NodeWorld extends World {
  readonly node: SimNode;
  readonly oracle: Oracle;
  readonly truths: readonly Oracle[];
  readonly nodeScenario: Scenario;
  /** Answers that left before what they tell was durable (durability `interval`), oldest first. */
  private unconfirmed: Unconfirmed[] = [];

  constructor(
    parts: WorldParts & {
      readonly scenario: Scenario;
      readonly node: SimNode;
      readonly oracle: Oracle;
    },
  ) {
    super(parts);
    this.nodeScenario = parts.scenario;
    this.node = parts.node;
    this.oracle = parts.oracle;
    this.truths = [parts.oracle];
  }

  service(): Service | null {
    return this.node.service;
  }

  guard(action: () => void): void {
    action();
  }

  acknowledged(_service: Service, check: () => void): void {
    const { shard } = this.node;
    assert(shard !== null, "a node that answers has a shard");
    const { commit } = shard.stats();
    if (this.scenario.isDurable) {
      const { lastIndex } = this.oracle;
      must(commit <= lastIndex, "durable before visible", commit, lastIndex);
      check();
      return;
    }
    this.unconfirmed.push({ index: commit, atUs: this.time.nowUs, check });
    this.confirm();
  }

  /** The process has ended: what it was asked for is never answered. */
  nodeEnded(): void {
    for (const { service } of [...this.open]) this.serviceEnded(service);
  }

  /** More of the log is durable. */
  confirm(): void {
    const { lastIndex } = this.oracle;
    let count = 0;
    for (const { index, check } of this.unconfirmed) {
      if (index > lastIndex) break;
      check();
      count++;
    }
    if (count > 0) this.unconfirmed = this.unconfirmed.slice(count);
  }

  /**
   * The store was opened again: what is not in it was lost.
   * @param endedUs - when the node ended
   * @param inOrder - it was stopped, not ended
   */
  lostRest(endedUs: number, inOrder: boolean): void {
    this.confirm();
    const { durability, diskUs, faults } = this.nodeScenario;
    const oldest = this.unconfirmed[0];
    this.unconfirmed = [];
    if (!oldest || durability.kind !== "interval") return;
    must(!inOrder, "a stop in order loses nothing", oldest.index, this.oracle.lastIndex);
    this.trace(`lost answers of the last ${(endedUs - oldest.atUs) / 1000} ms`);
    if (faults.includes("stall") || faults.includes("pause")) return;
    // The time of the write itself, and of one that was on its way before it.
    const mostUs = durability.ms * 1010 + 20 * diskUs + 5_000;
    const ageUs = endedUs - oldest.atUs;
    must(ageUs <= mostUs, "only the last moments may be lost, us", ageUs, mostUs);
  }
}
