/**
 * One run: a phase with faults, in which anything may happen to the node and nothing untrue may be
 * told; then a phase without, in which everything must come to its end; then the node is stopped,
 * started and compared once more, and at last its store is damaged: it must refuse that one.
 */
import { limits } from "../../src/base/limits.ts";
import { EntryReader } from "../../src/queue/command-codec.ts";
import { prefixes, readU64 } from "../../src/queue/keys.ts";
import { taskState } from "../../src/queue/run.ts";
import { History } from "./checkers/history.ts";
import { LeaderTimeCheck } from "./checkers/leader-time.ts";
import { nameOf } from "./checkers/log-ops.ts";
import { Oracle } from "./checkers/oracle.ts";
import { checkState } from "./checkers/state.ts";
import { type LogRow, nameText } from "./checkers/truth.ts";
import { MachineClock, type ProcessTime, VirtualTime } from "./clock.ts";
import { Nemesis } from "./nemesis.ts";
import { type NodeListener, SimNode, stallFactor } from "./node.ts";
import { NodeWorld } from "./node-world.ts";
import { Operator } from "./operator.ts";
import type { Figures } from "./play.ts";
import { Producer } from "./producer.ts";
import { Stream } from "./random.ts";
import type { Scenario } from "./scenario.ts";
import { TraceHash } from "./trace.ts";
import { must } from "./violation.ts";
import type { VirtualStore } from "./virtual-store.ts";
import { Worker } from "./worker.ts";

export type Report = Figures & { readonly hash: string };

/** Virtual ms in which everything must be settled once the faults are over. */
const drainMs = 90_000;
/** How late a delay or a lease may end on a healthy node (SPEC section 2), ms. */
const delayLateMs = 50;
const leaseLateMs = 100;
/** µs that a started node gets before it counts as healthy. */
const settlingUs = 1_000_000;
/** Ms that an entry which is held back may wait beyond its interval, for a write before it or a pause. */
const heldSlackMs = 10_000;
/** Events between two comparisons of the whole state. */
const checkEvery = 1_000;
const logHeadBytes = 9;
const startWallMs = 1_800_000_000_000;

/**
 * Plays a scenario.
 * @param log - told of every transition
 * @throws Violation, or whatever the node's code threw
 */
export async function simulate(
  scenario: Scenario,
  log: ((line: string) => void) | null,
): Promise<Report> {
  const before = { ...limits };
  // The bounds are constants of the product; a run makes some of them small to meet them soon.
  Object.assign(limits, scenario.limits);
  try {
    return await new Simulation(scenario, log).run();
  } finally {
    Object.assign(limits, before);
  }
}

class Simulation implements NodeListener {
  private readonly scenario: Scenario;
  private readonly time = new VirtualTime();
  private readonly hash = new TraceHash();
  private readonly log: ((line: string) => void) | null;
  private readonly oracle = new Oracle();
  private readonly history: History;
  private readonly leaderTime = new LeaderTimeCheck();
  private readonly node: SimNode;
  private readonly world: NodeWorld;
  private readonly nemesis: Nemesis;
  private failure: { readonly error: unknown } | null = null;
  private starts = 0;
  private crashes = 0;
  /** When the process ended that had the store open last. */
  private endedUs = 0;
  private hadStore = false;
  private stoppedInOrder = false;
  private healthyFromUs = Number.POSITIVE_INFINITY;
  private damaged = false;
  private nextCheck = 0;
  /** Virtual time at which entries became durable, by index. */
  private readonly durableUs: number[] = [];

  constructor(scenario: Scenario, log: ((line: string) => void) | null) {
    this.scenario = scenario;
    this.log = log;
    const { seed } = scenario;
    const random = { disk: new Stream(seed, "disk"), node: new Stream(seed, "node") };
    const machine = new MachineClock(this.time, startWallMs, scenario.clockRate);
    this.node = new SimNode(scenario, machine, random, this);
    this.history = new History(scenario.actions);
    this.world = new NodeWorld({
      scenario,
      time: this.time,
      node: this.node,
      oracle: this.oracle,
      history: this.history,
      trace: (line) => this.trace(line),
    });
    this.nemesis = new Nemesis(this.world);
    this.oracle.beforeExpire = (timeMs) => this.checkLateness(timeMs);
  }

  async run(): Promise<Report> {
    const { scenario, world, node } = this;
    node.start();
    for (let i = 0; i < scenario.producers; i++) new Producer(world, i).start();
    for (let i = 0; i < scenario.workers; i++) new Worker(world, i).start();
    new Operator(world).start();
    this.nemesis.start();
    await this.until(() => this.time.nowUs >= scenario.faultMs * 1000, scenario.faultMs + 1_000);
    this.trace("faults end");
    world.draining = true;
    // What is on its way may still suffer from the last pause or stall.
    const slowestUs = 10 * node.diskUs * stallFactor;
    const untilUs = Math.max(this.time.nowUs + slowestUs, node.machine.pausedUntilUs);
    this.healthyFromUs = untilUs + settlingUs;
    this.nemesis.end();
    await this.until(() => this.isDrained(), drainMs);
    this.trace("drained");
    world.over = true;
    await this.until(() => world.open.size === 0, 10_000);
    this.checkEnd();
    await this.restart();
    await this.damage();
    this.throwFailure();
    const { events, nowUs } = this.time;
    return {
      ...{ hash: this.hash.text(), simulatedMs: Math.floor(nowUs / 1000), events },
      ...{ acknowledged: world.answers, faults: this.nemesis.faults, crashes: this.crashes },
      ...{ partitions: 0, snapshots: 0, memberChanges: 0, leaders: this.starts },
    };
  }

  /** Runs until the condition holds; it must within so many virtual ms. */
  private async until(isReached: () => boolean, withinMs: number): Promise<void> {
    const end = this.time.nowUs + withinMs * 1000;
    let reached = false;
    // Where nothing else happens time must go on all the same.
    const beat = () => {
      if (!reached) this.time.after(20_000, beat);
    };
    beat();
    await this.time.run(() => {
      this.step();
      reached = isReached();
      return reached || this.time.nowUs > end;
    });
    this.throwFailure();
    must(reached, "it comes to its end", isReached.toString().slice(0, 60), this.pendingText());
  }

  private throwFailure(): void {
    if (this.failure) throw this.failure.error;
  }

  private step(): void {
    this.throwFailure();
    this.nemesis.step();
    if (this.time.events >= this.nextCheck) this.checkWhole();
  }

  /** Compares everything, if the node stands at an entry's end that is durable. */
  private checkWhole(): void {
    const { node, oracle } = this;
    if (node.state !== "up" || !node.shard?.leads) return;
    const { applied, commit } = node.shard.stats();
    if (applied !== oracle.lastIndex || commit !== applied) return;
    this.nextCheck = this.time.events + checkEvery;
    checkState(oracle.model, node.shard.state, node.store.rows);
  }

  private isDrained(): boolean {
    const { node, oracle } = this;
    if (node.state !== "up") return false;
    if (this.world.open.size > this.scenario.workers) return false;
    return oracle.pending().length === 0;
  }

  private pendingText(): string {
    const pending = this.oracle.pending();
    const states = pending.map(({ state, due }) => `${state}/${due - this.oracle.model.now}`);
    const open = [...this.world.open].map(({ what }) => what);
    return `node ${this.node.state}; tasks ${states.join(" ")}; open ${open.join(", ")}`;
  }

  /** A healthy node ends delays and leases in time. */
  private checkLateness(timeMs: number): void {
    // With a tiny read-ahead many reads go before one expire.
    if (this.time.nowUs < this.healthyFromUs || this.scenario.readAhead.dueRows < 100) return;
    for (const task of this.oracle.pending()) {
      const isLease = task.state === taskState.leased;
      if (!isLease && task.state !== taskState.delayed) continue;
      const late = timeMs - task.due;
      must(late <= (isLease ? leaseLateMs : delayLateMs), "what is due happens in time", late);
    }
  }

  private checkEnd(): void {
    const { oracle, history, world } = this;
    const { doneRetentionMs, deadRetentionMs } = this.scenario.settings;
    const kept = Math.min(doneRetentionMs, deadRetentionMs) > 1_000_000_000;
    for (const task of history.tasks.values()) {
      if (!task.created || !kept) continue;
      const name = nameOf(Buffer.from(task.id.replaceAll("-", ""), "hex"), 0);
      const isKept = oracle.task(name) !== undefined || oracle.purged.has(nameText(name));
      must(isKept, "what was acknowledged is kept", task.id);
    }
    for (const worker of world.refusedWorkers) {
      const logged = worker.startsWith("settle ")
        ? oracle.settles.has(worker.split(" ")[2] ?? "")
        : oracle.workers.has(worker);
      must(!logged, "what was refused did not happen", worker);
    }
  }

  /** Stops in order and starts again: nothing is different. */
  private async restart(): Promise<void> {
    const { node } = this;
    node.stop();
    await this.until(() => node.state === "down", 10_000);
    const { starts } = this;
    node.start();
    await this.until(() => node.shard?.leads === true, 10_000);
    must(this.starts === starts + 1, "one start is enough", this.starts);
    this.checkWhole();
  }

  private async damage(): Promise<void> {
    const { node, scenario } = this;
    const random = this.world.stream("damage");
    if (scenario.damage === "tail" && random.chance(0.5)) await this.lastWords();
    if (random.chance(0.5)) {
      node.stop();
      await this.until(() => node.state === "down", 10_000);
    } else node.crash("power");
    const { store } = node;
    this.damaged = true;
    if (scenario.damage === "tail") return this.loseTail(store);
    if (scenario.damage === "table") store.flush();
    const done =
      scenario.damage === "log" ? store.rotLog() : scenario.damage === "table" && store.rotTable();
    if (!done) return;
    this.trace(`damaged: ${scenario.damage}`);
    node.start();
    await this.until(() => node.state !== "starting", 10_000);
    must(node.state === "refused", "a damaged store is refused", scenario.damage, node.state);
  }

  /** One create soon after the start, and then silence. */
  private async lastWords(): Promise<void> {
    const { node, scenario } = this;
    node.store.flush();
    const batch = node.router?.createBatch(scenario.tenants[0] as string);
    const task = { queue: "last", priority: 0, maxAttempts: 1, delayMs: 0, runAtMs: 0 };
    batch?.add({ ...task, extras: null, idempotencyKey: null }, Buffer.from("last"), 0, 4);
    let isCreated = false;
    batch?.send(null, () => {
      isCreated = true;
    });
    await this.until(() => isCreated, 10_000);
    const endUs = this.time.nowUs + 1_500_000;
    await this.until(() => this.time.nowUs >= endUs, 2_000);
  }

  private async loseTail(store: VirtualStore): Promise<void> {
    const { node } = this;
    store.loseTail();
    store.open();
    store.close();
    const last = lastIndexOf(store);
    // Index 1, the founding, is in no store.
    const lostUs = this.durableUs[Math.max(2, last + 1)];
    this.trace(`tail lost behind ${last}`);
    node.start();
    await this.until(() => node.state !== "starting", 10_000);
    if (lostUs === undefined || this.scenario.durability.kind !== "always") return;
    // The fence is at most a second old, and its own write may have been on its way.
    const ageMs = (this.endedUs - lostUs) / 1000;
    if (ageMs < 1_100) return;
    must(node.state === "refused", "a store that lost its end is refused", last, ageMs);
  }

  // What the node tells

  trace(line: string): void {
    this.hash.add(this.time.nowUs, line);
    this.log?.(`${(this.time.nowUs / 1000).toFixed(3).padStart(11)} ms  ${line}`);
  }

  storeOpened(store: VirtualStore): void {
    this.hadStore = true;
    if (this.damaged) return;
    this.oracle.recovered(store.rows);
    this.noteDurable();
    this.world.lostRest(this.endedUs, this.stoppedInOrder);
    this.trace(`recovered to ${this.oracle.lastIndex}`);
  }

  shardOpened(process: ProcessTime): void {
    this.starts++;
    this.nextCheck = 0;
    const settledUs = this.time.nowUs + settlingUs;
    if (this.world.draining) this.healthyFromUs = Math.max(this.healthyFromUs, settledUs);
    const { lastTimeMs } = this.oracle;
    this.leaderTime.started(lastTimeMs, process.wallMs(), process.monotonicMs());
  }

  adding({ index, row }: LogRow): void {
    if (row.length === logHeadBytes) return;
    const { timeMs, count } = new EntryReader(row.subarray(logHeadBytes));
    this.trace(`entry ${index} at ${timeMs} with ${count}`);
    const { durability } = this.scenario;
    const heldMs = durability.kind === "interval" ? durability.ms * 1.1 + heldSlackMs : 0;
    if (!this.damaged) this.leaderTime.entry(timeMs, this.node.monotonicMs(), heldMs);
  }

  writing(rows: readonly LogRow[]): void {
    this.oracle.writing(rows);
  }

  written(): void {
    if (this.damaged) return;
    this.oracle.written();
    this.noteDurable();
    this.world.confirm();
  }

  private noteDurable(): void {
    for (let i = this.oracle.lastIndex; i > 0 && this.durableUs[i] === undefined; i--) {
      this.durableUs[i] = this.time.nowUs;
    }
  }

  ended(how: string): void {
    if (how !== "stopped") this.crashes++;
    if (this.hadStore) {
      this.endedUs = this.time.nowUs;
      this.stoppedInOrder = how === "stopped";
    }
    this.hadStore = false;
    this.trace(`node ended: ${how}`);
    this.world.nodeEnded();
    if (!this.world.over) this.nemesis.nodeEnded();
  }

  failed(error: unknown): void {
    this.failure ??= { error };
  }
}

/** The last log entry that a store holds, or up to which its log is cut. */
function lastIndexOf({ rows }: VirtualStore): number {
  const end = rows.lowerBound(`${prefixes.log}\xff\xff`);
  const key = end > 0 ? rows.keyAt(end - 1) : "";
  if (key.startsWith(prefixes.log)) return readU64(key, 1);
  const cut = rows.get(`${prefixes.meta}log`);
  // Behind the record's version byte.
  return cut ? readU64(cut.toString("latin1"), 1) : 0;
}
