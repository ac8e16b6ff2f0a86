/** Producers and workers of a simulated cluster, each request through a random node. */
import { errorCodes, QueueError } from "../../../src/base/errors.ts";
import { formatTaskId } from "../../../src/base/task-id.ts";
import type { Grant } from "../../../src/router/router.ts";
import type { ShardRouter } from "../../../src/router/shard-router.ts";
import { Stream } from "../random.ts";
import { must } from "../violation.ts";
import type { ClusterSim } from "./cluster-sim.ts";
import type { SimNode } from "./sim-node.ts";

/** A client asks again after so long without an answer. */
const patienceMs = 3_000;
/** When those are asked who led before, after an election. */
const askedAgainMs = [20, 60, 120, 200];

/**
 * Calls back once, with the answer or with null when the client's patience is over.
 * @param to - which node to ask; default any that is up
 */
function ask<T>(
  sim: ClusterSim,
  send: (router: ShardRouter, done: (value: T) => void) => void,
  then: (value: T | null) => void,
  to?: SimNode,
): void {
  const up = sim.nodes.filter((node) => node.state === "up" && node.router);
  const node = to ?? sim.clientRandom.pick(up);
  let over = false;
  const end = (value: T | null) => {
    if (over) return;
    over = true;
    then(value);
  };
  sim.time.after(patienceMs * 1000, () => end(null));
  if (!node?.router) return;
  const { router } = node;
  const request = { node, router };
  sim.unanswered.add(request);
  const done = (value: T) => {
    sim.unanswered.delete(request);
    end(value);
  };
  sim.guard(() => send(router, (value) => sim.guard(() => done(value))));
}

export class Producer {
  private readonly sim: ClusterSim;
  private readonly random: Stream;
  private readonly name: string;
  private number = 0;

  constructor(sim: ClusterSim, number: number) {
    this.sim = sim;
    this.name = `p${number}`;
    this.random = new Stream(sim.scenario.seed, `producer ${number}`);
  }

  start(): void {
    const { sim } = this;
    sim.time.after(this.random.around(sim.scenario.clientEveryMs) * 1000, () => {
      if (sim.draining) return;
      const count = this.random.pick([1, 1, 3, 10]);
      const keys = Array.from({ length: count }, () => `${this.name}-${this.number++}`);
      const isDelayed = this.random.chance(0.15);
      const delayMs = isDelayed ? this.random.between(10, sim.scenario.delayMaxMs) : 0;
      this.create(keys, delayMs);
    });
  }

  private create(keys: readonly string[], delayMs: number): void {
    const { sim, random } = this;
    sim.atWork.add(this);
    const { nowUs } = sim.time;
    for (const key of keys) sim.checks.asked(key, nowUs, delayMs);
    ask<readonly string[]>(
      sim,
      (router, done) => {
        const batch = router.createBatch("t");
        for (const key of keys) {
          const payload = Buffer.from(key);
          const task = { queue: "q", priority: 0, maxAttempts: 1000, delayMs, runAtMs: 0 };
          batch.add({ ...task, extras: null, idempotencyKey: key }, payload, 0, payload.length);
        }
        batch.send(null, (results) => {
          const left: string[] = [];
          for (const [i, key] of keys.entries()) {
            if (results.codes[i] === 0) {
              sim.counts.acknowledged++;
              const id = formatTaskId(results.ids, 16 * i);
              sim.checks.acknowledged(key, id);
              sim.histories.created(id, nowUs);
            } else left.push(key);
          }
          done(left);
        });
      },
      (left) => {
        const again = left ?? keys;
        if (again.length === 0) {
          sim.atWork.delete(this);
          this.start();
        }
        // Nobody knows what became of the first try: the keys make it safe.
        else sim.time.after(random.around(50_000), () => this.create(again, delayMs));
      },
    );
  }
}

interface Held {
  readonly id: Buffer;
  readonly token: number;
}

export class Worker {
  private readonly sim: ClusterSim;
  private readonly random: Stream;
  private readonly name: string;
  private number = 0;

  constructor(sim: ClusterSim, number: number) {
    this.sim = sim;
    this.name = `w${number}`;
    this.random = new Stream(sim.scenario.seed, `worker ${number}`);
  }

  start(): void {
    const { sim, random } = this;
    if (sim.over) {
      sim.atWork.delete(this);
      return;
    }
    sim.atWork.add(this);
    const workerId = `${this.name}#${this.number++}`;
    const { nowUs } = sim.time;
    const { leaseMs, claimWaitMs: waitMs } = sim.scenario;
    ask<readonly Held[]>(
      sim,
      (router, done) => {
        const request = { tenant: "t", queues: null, bytesMax: 1_000_000, workerId };
        const count = random.pick([1, 5, 30]);
        router.claim({ ...request, count, leaseMs, waitMs }, (outcome) => {
          if (outcome.kind !== "granted") {
            done([]);
            return;
          }
          sim.counts.acknowledged++;
          done(outcome.grants.flatMap((grant) => this.take(grant, nowUs)));
        });
      },
      (held) => {
        if (!held || held.length === 0) sim.time.after(random.around(30_000), () => this.start());
        else this.work(held, workerId);
      },
    );
  }

  private take(grant: Grant, calledUs: number): Held[] {
    const { sim } = this;
    const { ids, count, leaseToken: token, block, payloadFrom, payloadTo } = grant;
    return Array.from({ length: count }, (_, i) => {
      const id = Buffer.from(ids.subarray(16 * i, 16 * i + 16));
      const name = formatTaskId(id);
      const payload = block.toString("utf8", payloadFrom[i], payloadTo[i]);
      const attempts = grant.attempts[i] as number;
      sim.checks.delivered(name, payload, token, {
        ...{ attempts, calledUs, answeredUs: sim.time.nowUs },
        leaseMs: sim.scenario.leaseMs,
      });
      sim.histories.claimed(name, calledUs, token, attempts);
      return { id, token };
    });
  }

  private work(held: readonly Held[], workerId: string): void {
    const { sim, random } = this;
    const fate = random.unit();
    if (!sim.draining && fate < 0.1) {
      this.start(); // lost: its leases run out
      return;
    }
    const waitMs = !sim.draining && fate < 0.2 ? sim.scenario.leaseMs + 600 : random.around(40);
    sim.time.after(waitMs * 1000, () => this.settle(held, workerId));
  }

  private settle(held: readonly Held[], workerId: string): void {
    const { sim, random } = this;
    const kind = !sim.draining && random.chance(0.15) ? "nack" : "complete";
    ask<boolean>(
      sim,
      (router, done) => {
        const batch = router.settleBatch("t", workerId);
        const told = held.map((one) => this.settling(one, kind));
        for (const { id, token } of held) {
          if (kind === "nack") batch.nack(id, 0, token, 50, "again");
          else batch.complete(id, 0, token, null);
        }
        batch.send(({ codes }) => {
          const codeOf = (i: number) => codes[i] as number;
          for (const [i, tell] of told.entries()) tell(codeOf(i));
          done(held.every((_, i) => codeOf(i) === 0 || codeOf(i) === errorCodes.lease_lost.number));
        });
      },
      (isOver) => {
        // A settle carries its token: another try changes nothing that the first one did.
        if (isOver) this.start();
        else sim.time.after(random.around(50_000), () => this.settle(held, workerId));
      },
    );
  }

  /** @returns what is told of the answer's code */
  private settling({ id, token }: Held, kind: "nack" | "complete"): (code: number) => void {
    const { checks, histories, counts } = this.sim;
    const name = formatTaskId(id);
    const isStale = checks.isStale(name, token);
    if (kind === "nack") checks.givesBack(name, token);
    const tell = histories.settling(name, kind, token);
    return (code) => {
      if (code === 0) {
        const isRepeated = checks.settled.get(name) === token;
        must(!isStale || isRepeated, "a stale token settles nothing", name, token);
        counts.acknowledged++;
        if (kind === "complete") checks.settled.set(name, token);
        tell("done");
      } else if (code === errorCodes.lease_lost.number) tell("lease_lost");
      else tell(code === errorCodes.no_leader.number ? "nothing" : "unknown");
    };
  }
}

/** Reads tasks through any node: what was acknowledged before must be seen. */
export class Reader {
  private readonly sim: ClusterSim;
  private readonly random: Stream;

  constructor(sim: ClusterSim) {
    this.sim = sim;
    this.random = new Stream(sim.scenario.seed, "reader");
  }

  start(): void {
    const { sim, random } = this;
    sim.time.after(random.around(sim.scenario.readEveryMs) * 1000, () => {
      if (sim.over) return;
      const ids = [...sim.checks.created.values()];
      const id = ids.length === 0 ? undefined : random.pick(ids.slice(-30));
      if (id) this.read(id);
      this.start();
    });
  }

  /** A node has been elected: it is asked at once for what was acknowledged last. */
  elected(node: SimNode): void {
    const { sim, random } = this;
    const { created, settled } = sim.checks;
    const ids = new Set([...[...created.values()].slice(-3), ...[...settled.keys()].slice(-3)]);
    for (const id of ids) this.read(id, node);
    sim.time.after(random.around(5_000), () => {
      for (const id of sim.over ? [] : ids) this.read(id);
    });
    for (const ms of askedAgainMs) sim.time.after(ms * 1000, () => this.askOthers(node));
  }

  /** Others that say that they lead, of this or another shard: whoever was passed over must not answer. */
  private askOthers(elected: SimNode): void {
    const { sim } = this;
    if (sim.over) return;
    const { created, settled } = sim.checks;
    const ids = [...[...created.values()].slice(-2), ...[...settled.keys()].slice(-2)];
    for (const node of sim.nodes) {
      if (node === elected || !node.shards.some((shard) => shard?.leads)) continue;
      for (const id of ids) this.read(id, node);
    }
  }

  private read(id: string, to?: SimNode): void {
    const { sim } = this;
    const wasSettled = sim.checks.settled.has(id);
    const { nowUs } = sim.time;
    const bytes = Buffer.from(id.replaceAll("-", ""), "hex");
    ask<null>(
      sim,
      (router, done) => {
        router.task("t", bytes, "linearizable").then(
          ({ state, attempts }) => {
            sim.histories.read(id, nowUs, { state, attempts });
            sim.guard(() => {
              must(!wasSettled || state === "completed", "reads are not stale", id, state);
            });
            sim.counts.acknowledged++;
            done(null);
          },
          (error: unknown) => {
            const code = error instanceof QueueError ? error.code : String(error);
            if (code === "not_found") sim.histories.read(id, nowUs, null);
            sim.guard(() => must(code !== "not_found", "reads see what was acknowledged", id));
            done(null);
          },
        );
      },
      () => undefined,
      to,
    );
  }
}
