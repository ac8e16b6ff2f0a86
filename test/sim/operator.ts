/**
 * Clients that look after the queues: they cancel tasks and read them, redrive and purge, pause and
 * resume; at the end they cancel what would wait for days and resume what is paused.
 */
import { errorCodes, QueueError } from "../../src/base/errors.ts";
import { taskState } from "../../src/queue/run.ts";
import type { TaskView } from "../../src/router/router.ts";
import type { ModelTask } from "../queue/model.ts";
import { isRefusal, textOfView } from "./checkers/answers.ts";
import { nameText, type Truth, type Watch } from "./checkers/truth.ts";
import type { Stream } from "./random.ts";
import { must } from "./violation.ts";
import type { Service, World } from "./world.ts";

/** What is due later than this is not waited for. */
const patienceMs = 20_000;
const noEnd = new AbortController().signal;

export class Operator {
  private readonly world: World;
  private readonly random: Stream;

  constructor(world: World) {
    this.world = world;
    this.random = world.stream("operator");
  }

  start(): void {
    const { world, random } = this;
    const service = world.service(random);
    if (service && world.draining) this.clear(service);
    else if (service) this.act(service);
    world.after(random.around(2 * world.scenario.clientEveryMs), () => this.start());
  }

  private act(service: Service): void {
    const { random, world } = this;
    const truth = random.pick(world.truths);
    const act = random.between(0, world.scenario.actions ? 12 : 9);
    if (act === 12) {
      this.pause(service);
      return;
    }
    const task = pickTask(truth, random);
    if (!task) return;
    if (act < 2) this.cancel(service, truth, task);
    else if (act < 10) this.read(service, truth, task, act < 4);
    else if (act === 10) this.redrive(service, task);
    else this.purge(service, truth, task);
  }

  private clear(service: Service): void {
    for (const truth of this.world.truths) {
      for (const { tenant, name, paused } of truth.model.queues) {
        if (paused) this.setPaused(service, tenant, name, false);
      }
      for (const task of truth.pending()) {
        const waits = task.state === taskState.delayed;
        if (waits && task.due > truth.model.now + patienceMs) this.cancel(service, truth, task);
      }
    }
  }

  private cancel(service: Service, truth: Truth, task: ModelTask): void {
    const { world } = this;
    const sentAt = truth.lastIndex;
    const name = nameOf(task);
    const request = world.request("cancel", service, () => undefined);
    const decided = (code: number) => {
      const list = truth.cancels.get(nameText(name)) ?? [];
      const found = list.some(({ index, outcome }) => index > sentAt && outcome === code);
      must(found, "a cancel as it was logged", code);
    };
    service.router.cancel(task.run.queue.tenant, truth.idOf(name)).then(
      (view) => {
        const record = () => {
          decided(0);
          must(view.state === "canceled", "a canceled task", view.state);
          world.history.canceled(view.id);
        };
        request.answer(() => world.acknowledged(service, record), ignore);
      },
      (error: unknown) => {
        const record = () => {
          world.trace(`cancel ${String(error)}`);
          must(error instanceof QueueError, "why a cancel fails", String(error));
          if (error.code === "already_settled") world.acknowledged(service, () => decided(17));
        };
        request.answer(record, ignore);
      },
    );
  }

  /** Reads a task: as it was at some moment since it was asked for. */
  private read(service: Service, truth: Truth, task: ModelTask, withResult: boolean): void {
    const { world, random } = this;
    const name = nameOf(task);
    const watch = service.isUpToDate(truth) ? truth.watch(name) : null;
    const waitMs = random.pick([0, 200, 2_000]);
    const done = () => {
      if (watch) truth.unwatch(watch);
    };
    const request = world.request("read", service, done, waitMs);
    const id = truth.idOf(name);
    const { tenant } = task.run.queue;
    const reading = withResult
      ? service.router
          .result(tenant, id, { waitMs, consistency: "linearizable" })
          .then((answer) => answer.task)
      : service.router.task(tenant, id, "linearizable");
    reading.then(
      (view) => {
        const stored = truth.payloads.get(nameText(name));
        const record = () => {
          must(view.payload.toString() === stored, "a payload as it was read", view.id);
          this.seen(watch, view);
        };
        request.answer(() => world.acknowledged(service, record), done);
      },
      (error: unknown) => {
        const record = () => {
          must(error instanceof QueueError, "why a read fails", String(error));
          if (error.code === "not_found") this.seen(watch, null);
        };
        request.answer(() => world.acknowledged(service, record), done);
      },
    );
  }

  private seen(watch: Watch | null, view: TaskView | null): void {
    if (!watch || !this.world.scenario.isDurable) return;
    const got = view ? textOfView(view) : "none";
    must(watch.texts.includes(got), "a task as it was when it was read", got, ...watch.texts);
  }

  private redrive(service: Service, task: ModelTask): void {
    const { tenant, name } = task.run.queue;
    const limit = this.random.pick([1, 1_000]);
    const choice = { ids: null, limit, signal: noEnd };
    this.ask("redrive", service, service.admin.redrive(tenant, name, choice), (count) => {
      must(count <= limit, "a redrive keeps its limit", count, limit);
    });
  }

  private purge(service: Service, truth: Truth, task: ModelTask): void {
    // A task that was named by its maker may be made again; then it is another one of the same name.
    if (task.run.hash !== null) return;
    const { tenant, name } = task.run.queue;
    const choice = { ids: [truth.idOf(nameOf(task))], states: null, limit: 10, signal: noEnd };
    this.ask("purge", service, service.admin.purge(tenant, name, choice), (count) => {
      const isGone =
        truth.purged.has(nameText(nameOf(task))) || truth.task(nameOf(task)) === undefined;
      must(count <= 1 && isGone, "a purged task is gone", count);
    });
  }

  private pause(service: Service): void {
    const { random, world } = this;
    const { tenants, queues } = world.scenario;
    this.setPaused(service, random.pick(tenants), random.pick(queues), random.chance(0.4));
  }

  private setPaused(service: Service, tenant: string, queue: string, paused: boolean): void {
    this.ask("pause", service, service.admin.pause(tenant, queue, paused), (isPaused) => {
      must(isPaused === paused, "a queue is paused as it was asked", tenant, queue, isPaused);
    });
  }

  /** An action whose answer is not compared with the log. */
  private ask<T>(
    what: string,
    service: Service,
    asked: Promise<T>,
    done: (value: T) => void,
  ): void {
    const { world } = this;
    const request = world.request(what, service, () => undefined, patienceMs);
    asked.then(
      (value) => request.answer(() => world.acknowledged(service, () => done(value)), ignore),
      (error: unknown) => {
        const record = () => {
          const isQueueError = error instanceof QueueError;
          must(isQueueError, `why a ${what} fails`, String(error));
          const isMoving =
            isRefusal(errorCodes[error.code].number) || error.code === "unknown_outcome";
          must(isMoving, `why a ${what} fails`, error.code);
        };
        request.answer(record, ignore);
      },
    );
  }
}

function ignore(): void {
  // An operator goes on whatever the answer was.
}

function pickTask(truth: Truth, random: Stream): ModelTask | undefined {
  const runs = [...truth.model.runs.values()];
  if (runs.length === 0) return undefined;
  // Young ones most of the time: they have the most ahead of them.
  const some = random.chance(0.7) ? runs.slice(-10) : runs;
  const live = random.pick(some).tasks.filter(({ state }) => state !== taskState.removed);
  return live.length > 0 ? random.pick(live) : undefined;
}

function nameOf(task: ModelTask): { readonly key: string; readonly place: number } {
  return { key: task.run.key, place: task.place };
}
