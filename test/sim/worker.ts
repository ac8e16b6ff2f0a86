/**
 * A client that claims and settles: in time and too late, with the right token and a stale one,
 * twice, or never. Every claim and every settle carries a worker id of its own, so that it can be
 * found in the log.
 */
import { errorCodes } from "../../src/base/errors.ts";
import { formatTaskId } from "../../src/base/task-id.ts";
import type { ClaimOutcome, Grant, SettleBatch, SettleResults } from "../../src/router/router.ts";
import {
  checkGrants,
  checkSettled,
  isRefusal,
  isUnknown,
  type SentSettle,
} from "./checkers/answers.ts";
import type { Truth } from "./checkers/truth.ts";
import type { Stream } from "./random.ts";
import { must } from "./violation.ts";
import type { Service, World } from "./world.ts";

/** A claimed task in the hands of a worker. */
interface Held {
  readonly tenant: string;
  readonly id: Buffer;
  readonly token: number;
  readonly leaseMs: number;
}

const leases = [300, 800, 2_000, 6_000];
const acts = ["complete", "complete", "complete", "fail", "nack", "abandon", "heartbeat"] as const;

export class Worker {
  private readonly world: World;
  private readonly name: string;
  private readonly random: Stream;

  constructor(world: World, number: number) {
    this.world = world;
    this.name = `w${number}`;
    this.random = world.stream(`worker ${number}`);
  }

  /** @param hint - the service to ask */
  start(hint?: string): void {
    const { world, random } = this;
    const wait = world.draining ? 20 : world.scenario.clientEveryMs;
    world.after(hint ? 1 : random.around(wait), () => this.claim(hint));
  }

  private claim(hint?: string): void {
    const { world, random, name } = this;
    const service = world.service(random, hint);
    if (!service) {
      this.start();
      return;
    }
    const { draining, scenario } = world;
    const leaseMs = draining ? 5_000 : random.pick(leases);
    const workerId = `${name}#${world.nextOp()}`;
    const some = scenario.queues.filter(() => random.chance(0.6));
    const waitMs = draining ? 0 : random.pick([0, 100, 1_500]);
    const request = world.request(`claim ${workerId}`, service, () => this.start(), waitMs);
    const handle = service.router.claim(
      {
        tenant: random.pick(scenario.tenants),
        queues: draining || some.length === 0 ? null : some,
        count: draining ? 50 : random.pick([1, 1, 3, 10]),
        bytesMax: random.pick([100, 4_000, 3_500_000]),
        ...{ leaseMs, workerId, waitMs },
      },
      (outcome) => {
        request.answer(
          () => this.record(outcome, service, workerId),
          () => this.claimed(outcome, leaseMs, workerId),
        );
      },
    );
    if (draining || !random.chance(0.1)) return;
    world.after(random.around(100), () => {
      // Its answer never comes then; what it got is given back.
      if (request.withdraw() && service.isAlive) handle.cancel();
    });
  }

  private record(outcome: ClaimOutcome, service: Service, workerId: string): void {
    const { world } = this;
    if (outcome.kind === "failed") {
      const { number } = errorCodes[outcome.error.code];
      if (isUnknown(number)) return;
      must(isRefusal(number), "why a claim fails", outcome.error.code);
      world.refusedWorkers.add(workerId);
    }
    if (outcome.kind !== "granted") return;
    const { grants } = outcome;
    const tokens = grants.map((grant) => `${grant.leaseToken}x${grant.count}`).join(" ");
    world.trace(`granted ${workerId} ${tokens}`);
    for (const grant of grants) {
      must(grant.workerId === workerId, "a grant for who asked", grant.workerId, workerId);
      const { shard } = world.truthOf(grant.ids);
      world.history.tokenSeen(shard, grant.leaseToken, workerId);
    }
    world.acknowledged(service, () => checkGrants(world, grants));
  }

  private claimed(outcome: ClaimOutcome, leaseMs: number, workerId: string): void {
    if (outcome.kind === "granted") this.work(heldOf(outcome.grants, leaseMs), workerId);
    const hint = outcome.kind === "failed" ? outcome.error.leader?.leaderId : undefined;
    this.start(hint);
  }

  private work(held: readonly Held[], claimId: string): void {
    const { world, random } = this;
    if (world.draining) {
      this.settle(
        held.map((task) => this.item(task, "complete")),
        null,
      );
      return;
    }
    if (random.chance(0.1)) return; // a lost worker: its leases run out
    const late = random.chance(0.12);
    const wait = late ? (held[0]?.leaseMs ?? 0) * 1.2 + 100 : random.around(60);
    world.after(wait, () => {
      // Without tokens the worker id decides; one such settle per claim, so that it is found.
      const tokenless = !late && random.chance(0.1);
      const items = held.map((task) => {
        const act = random.pick(acts);
        return this.item(tokenless ? { ...task, token: 0 } : task, act);
      });
      this.settle(items, tokenless ? claimId : null);
      if (random.chance(0.2)) this.again(items);
    });
  }

  /** Sends the same again, or completes what was only prolonged. */
  private again(items: readonly SentSettle[]): void {
    const more = items
      .filter((item) => item.token > 0)
      .map((item) =>
        item.op === "heartbeat" ? { ...item, op: "complete" as const, ms: 0 } : item,
      );
    if (more.length > 0) this.world.after(this.random.around(400), () => this.settle(more, null));
  }

  private item(task: Held, op: SentSettle["op"]): SentSettle {
    const { random, world } = this;
    const { tenant, id, token } = task;
    let ms = 0;
    if (op === "nack") ms = random.pick([-1, -1, 0, 60]);
    if (op === "heartbeat") ms = random.pick([0, 0, 1_000]);
    const text = random.chance(0.5) ? "" : `r${world.nextOp()}`;
    return { tenant, id, token, op, ms, text, isStale: false };
  }

  private settle(
    planned: readonly SentSettle[],
    claimId: string | null,
    tries = 3,
    hint?: string,
  ): void {
    const { world, name, random } = this;
    const service = world.service(random, hint);
    const [first] = planned;
    if (!service || !first) return;
    const workerId = claimId ?? `${name}#${world.nextOp()}`;
    const batch = service.router.settleBatch(first.tenant, workerId);
    const items = planned.map((item) => {
      const givesBack = item.op === "abandon";
      const isStale = world.history.willSettle(formatTaskId(item.id), item.token, givesBack);
      return { ...item, isStale: isStale && world.scenario.isDurable };
    });
    for (const item of items) addTo(batch, item);
    // With a token another try changes nothing that the first one did.
    const again = (to?: string) => {
      if (tries === 0 || claimId !== null) return;
      const ms = to ? 1 : random.around(100);
      world.after(ms, () => this.settle(planned, null, tries - 1, to));
    };
    const onLost = () => {
      if (random.chance(0.5)) again();
    };
    const request = world.request(`settle ${workerId}`, service, onLost);
    batch.send((results) => {
      request.answer(
        () => this.settled(workerId, service, items, results),
        () => {
          const isRefused = results.codes.some((code) => isRefusal(code));
          const leader = results.error(0)?.leader?.leaderId;
          if (isRefused) again(leader);
        },
      );
    });
  }

  private settled(
    workerId: string,
    service: Service,
    items: readonly SentSettle[],
    results: SettleResults,
  ): void {
    const { world } = this;
    world.trace(`settled ${workerId} ${[...results.codes].join(" ")}`);
    must(results.count === items.length, "an answer per settle", results.count, items.length);
    // Each shard has answered for its own tasks.
    const places = new Map<Truth, number[]>();
    items.forEach(({ id }, i) => {
      const truth = world.truthOf(id);
      const own = places.get(truth) ?? [];
      own.push(i);
      places.set(truth, own);
    });
    for (const [truth, own] of places) {
      const code = results.codes[own[0] as number] as number;
      if (isUnknown(code)) continue;
      if (isRefusal(code)) world.refusedWorkers.add(`settle ${truth.shard} ${workerId}`);
      else {
        world.acknowledged(service, () =>
          checkSettled(world, truth, workerId, { items, results, places: own }),
        );
      }
    }
  }
}

function heldOf(grants: readonly Grant[], leaseMs: number): Held[] {
  const held: Held[] = [];
  for (const { ids, count, leaseToken, tenant } of grants) {
    for (let i = 0; i < count; i++) {
      const id = Buffer.from(ids.subarray(16 * i, 16 * i + 16));
      held.push({ tenant, id, token: leaseToken, leaseMs });
    }
  }
  return held;
}

function addTo(batch: SettleBatch, { id, token, op, ms, text }: SentSettle): void {
  switch (op) {
    case "complete":
      batch.complete(id, 0, token, text === "" ? null : Buffer.from(text));
      return;
    case "fail":
      batch.fail(id, 0, token, Buffer.from(text), null);
      return;
    case "nack":
      batch.nack(id, 0, token, ms, text);
      return;
    case "abandon":
      batch.abandon(id, 0, token);
      return;
    case "heartbeat":
      batch.heartbeat(id, 0, token, ms);
      return;
  }
}
