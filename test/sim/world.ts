/**
 * What the clients of a run share: the services that they reach, the requests that wait for an
 * answer, and the checkers that hear of every answer.
 */
import { shardOfTaskId } from "../../src/base/task-id.ts";
import type { Settings } from "../../src/queue/command.ts";
import type { Admin } from "../../src/router/admin.ts";
import type { Router } from "../../src/router/router.ts";
import type { History } from "./checkers/history.ts";
import type { Truth } from "./checkers/truth.ts";
import type { VirtualTime } from "./clock.ts";
import { Stream } from "./random.ts";
import { must } from "./violation.ts";

/** How the clients of a run are. */
export interface ClientScenario {
  readonly seed: number;
  readonly settings: Settings;
  /** Mean virtual ms between the operations of each client. */
  readonly clientEveryMs: number;
  readonly producers: number;
  readonly workers: number;
  readonly queues: readonly string[];
  readonly tenants: readonly string[];
  /** Share of answers that never reach their client. */
  readonly answerLoss: number;
  readonly payloadBytes: number;
  /** Tasks that a run may have. */
  readonly runTasks: number;
  /** Virtual ms after which a client gives a request up. */
  readonly patienceMs: number;
  /** Whether operators redrive, purge and pause. */
  readonly actions: boolean;
  /** Whether an answer stands once it is given, whatever crashes. */
  readonly isDurable: boolean;
}

/** A process that takes requests. */
export interface Service {
  readonly name: string;
  readonly router: Router;
  readonly admin: Admin;
  readonly isAlive: boolean;
  wallMs(): number;
  /** Whether its reads see all that the truth knows now. */
  isUpToDate(truth: Truth): boolean;
}

/** One request: answered once, or lost with the process that it was sent to. */
export class Request {
  readonly what: string;
  readonly service: Service;
  private readonly world: World;
  private readonly onLost: () => void;
  private state: "open" | "givenUp" | "answered" | "lost" = "open";

  constructor(world: World, what: string, service: Service, onLost: () => void) {
    this.world = world;
    this.what = what;
    this.service = service;
    this.onLost = onLost;
  }

  /**
   * The service answers.
   * @param record - what the checkers are told, always
   * @param react - what the client does, if the answer reaches it
   */
  answer(record: () => void, react: () => void): void {
    this.world.guard(() => this.answered(record, react));
  }

  private answered(record: () => void, react: () => void): void {
    must(this.state !== "answered", "one answer per request", this.what);
    // What a process did in its last moment, when it had ended already, nobody hears of.
    if (this.state === "lost" || !this.service.isAlive) return;
    const { world } = this;
    const wasGivenUp = this.state === "givenUp";
    this.state = "answered";
    world.open.delete(this);
    if (!wasGivenUp) world.answers++;
    record();
    if (!wasGivenUp) world.time.after(0, world.answerIsLost() ? this.onLost : react);
  }

  /** The process is gone. */
  lost(): void {
    if (this.state === "open") this.onLost();
    this.state = "lost";
  }

  /** The client does not wait any longer. */
  giveUp(): void {
    if (this.state !== "open") return;
    this.state = "givenUp";
    this.onLost();
  }

  /** The client has taken it back: no answer will come. @returns false if it was answered before */
  withdraw(): boolean {
    if (!this.world.open.delete(this)) return false;
    this.lost();
    return true;
  }
}

export interface WorldParts {
  readonly scenario: ClientScenario;
  readonly time: VirtualTime;
  readonly history: History;
  readonly trace: (line: string) => void;
}

export abstract class World {
  readonly scenario: ClientScenario;
  readonly time: VirtualTime;
  readonly history: History;
  readonly trace: (line: string) => void;
  /** Requests that a living process has not answered. */
  readonly open = new Set<Request>();
  /** The fault phase is over: no new work, everything is to be settled. */
  draining = false;
  over = false;
  answers = 0;
  /** Worker ids of claims and settles that were refused for sure, with their shards. */
  readonly refusedWorkers = new Set<string>();
  /** By shard. */
  abstract readonly truths: readonly Truth[];
  private readonly lossRandom: Stream;
  private ops = 0;

  constructor({ scenario, time, history, trace }: WorldParts) {
    this.scenario = scenario;
    this.time = time;
    this.history = history;
    this.trace = trace;
    this.lossRandom = new Stream(scenario.seed, "answers");
  }

  /**
   * A service that takes requests now, if there is one.
   * @param hint - the name of the one to ask, if it is there
   */
  abstract service(random: Stream, hint?: string): Service | null;

  /** Runs a check of an answer that was given, at once or when what it tells is known. */
  abstract acknowledged(service: Service, check: () => void): void;

  /** Runs what may find a violation. */
  abstract guard(action: () => void): void;

  truthOf(id: Uint8Array, at = 0): Truth {
    return this.truths[shardOfTaskId(id, at, this.truths.length)] as Truth;
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
      if (!this.over) this.guard(callback);
    });
  }

  /**
   * @param onLost - nobody knows whether it happened
   * @param waitMs - that the service may take its time for
   */
  request(what: string, service: Service, onLost: () => void, waitMs = 0): Request {
    const request = new Request(this, what, service, onLost);
    this.open.add(request);
    const { patienceMs } = this.scenario;
    if (Number.isFinite(patienceMs)) {
      this.time.after((waitMs + patienceMs) * 1000, () => request.giveUp());
    }
    return request;
  }

  answerIsLost(): boolean {
    return !this.draining && this.lossRandom.chance(this.scenario.answerLoss);
  }

  /** A process has ended: what it was asked for is never answered. */
  serviceEnded(service: Service): void {
    for (const request of this.open) {
      if (request.service !== service) continue;
      this.open.delete(request);
      this.time.after(0, () => request.lost());
    }
  }
}
