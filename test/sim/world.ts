/**
 * What the clients of a run share: the node as they reach it, the requests that wait for an answer,
 * and the checkers that hear of every answer.
 */
import { assert } from "../../src/base/assert.ts";
import type { History } from "./checkers/history.ts";
import type { Oracle } from "./checkers/oracle.ts";
import type { VirtualTime } from "./clock.ts";
import type { SimNode } from "./node.ts";
import { Stream } from "./random.ts";
import type { Scenario } from "./scenario.ts";
import { must } from "./violation.ts";

/** One request: answered once, or lost with the process that it was sent to. */
export class Request {
  private readonly world: World;
  private readonly onLost: () => void;
  private state: "open" | "answered" | "lost" = "open";
  readonly what: string;

  constructor(world: World, what: string, onLost: () => void) {
    this.world = world;
    this.what = what;
    this.onLost = onLost;
  }

  /**
   * The node answers.
   * @param record - what the checkers are told, always
   * @param react - what the client does, if the answer reaches it
   */
  answer(record: () => void, react: () => void): void {
    must(this.state !== "answered", "one answer per request", this.what);
    if (this.state === "lost") return;
    this.state = "answered";
    const { world } = this;
    world.open.delete(this);
    world.answers++;
    record();
    if (world.answerIsLost()) world.time.after(0, this.onLost);
    else world.time.after(0, react);
  }

  lost(): void {
    this.state = "lost";
    this.onLost();
  }
}

interface Unconfirmed {
  readonly index: number;
  readonly atUs: number;
  readonly check: () => void;
}

export class World {
  readonly scenario: Scenario;
  readonly time: VirtualTime;
  readonly node: SimNode;
  readonly oracle: Oracle;
  readonly history: History;
  readonly trace: (line: string) => void;
  readonly open = new Set<Request>();
  /** The fault phase is over: no new work, everything is to be settled. */
  draining = false;
  over = false;
  answers = 0;
  /** Worker ids of claims and settles that were refused for sure. */
  readonly refusedWorkers = new Set<string>();
  private readonly lossRandom: Stream;
  /** Answers that left before what they tell was durable (durability `interval`), oldest first. */
  private unconfirmed: Unconfirmed[] = [];
  private ops = 0;

  constructor(parts: {
    readonly scenario: Scenario;
    readonly time: VirtualTime;
    readonly node: SimNode;
    readonly oracle: Oracle;
    readonly history: History;
    readonly trace: (line: string) => void;
  }) {
    this.scenario = parts.scenario;
    this.time = parts.time;
    this.node = parts.node;
    this.oracle = parts.oracle;
    this.history = parts.history;
    this.trace = parts.trace;
    this.lossRandom = new Stream(this.scenario.seed, "answers");
  }

  stream(concern: string): Stream {
    return new Stream(this.scenario.seed, concern);
  }

  nextOp(): number {
    return ++this.ops;
  }

  /** A client's timer; it ends with the run. */
  after(ms: number, callback: () => void): void {
    this.time.after(ms * 1000, () => {
      if (!this.over) callback();
    });
  }

  /** @param onLost - the node has ended, nobody knows whether it happened */
  request(what: string, onLost: () => void): Request {
    const request = new Request(this, what, onLost);
    this.open.add(request);
    return request;
  }

  answerIsLost(): boolean {
    return !this.draining && this.lossRandom.chance(this.scenario.answerLoss);
  }

  /** The process has ended: what it was asked for is never answered. */
  nodeEnded(): void {
    const { open } = this;
    const requests = [...open];
    open.clear();
    for (const request of requests) this.time.after(0, () => request.lost());
  }

  /** Runs a check of an acknowledged answer: now, or when what it tells is durable. */
  acknowledged(check: () => void): void {
    const { shard } = this.node;
    assert(shard !== null, "a node that answers has a shard");
    const { commit } = shard.stats();
    if (this.scenario.durability.kind === "always") {
      const { lastIndex } = this.oracle;
      must(commit <= lastIndex, "durable before visible", commit, lastIndex);
      check();
      return;
    }
    this.unconfirmed.push({ index: commit, atUs: this.time.nowUs, check });
    this.confirm();
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
    const { durability, diskUs, faults } = this.scenario;
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
