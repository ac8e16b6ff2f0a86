/** A client that cancels tasks and reads them; at the end it cancels what would wait for days. */
import { QueueError } from "../../src/base/errors.ts";
import { taskState } from "../../src/queue/run.ts";
import type { TaskView } from "../../src/router/router.ts";
import type { ModelTask } from "../queue/model.ts";
import { taskIdOf } from "../queue/ops.ts";
import { checkView, snapshotOf } from "./checkers/answers.ts";
import { nameText } from "./checkers/oracle.ts";
import type { Stream } from "./random.ts";
import { must } from "./violation.ts";
import type { World } from "./world.ts";

/** What is due later than this is not waited for. */
const patienceMs = 20_000;

export class Operator {
  private readonly world: World;
  private readonly random: Stream;

  constructor(world: World) {
    this.world = world;
    this.random = world.stream("operator");
  }

  start(): void {
    const { world, random } = this;
    if (world.draining) this.cancelFar();
    else this.act();
    world.after(random.around(2 * world.scenario.clientEveryMs), () => this.start());
  }

  private act(): void {
    const tasks = this.world.oracle.model.tasks();
    if (tasks.length === 0) return;
    const task = this.random.pick(tasks);
    const act = this.random.between(0, 9);
    if (act < 2) this.cancel(task);
    else this.read(task, act < 4);
  }

  private cancelFar(): void {
    const { oracle } = this.world;
    for (const task of oracle.pending()) {
      const waits = task.state === taskState.delayed && task.due > oracle.model.now + patienceMs;
      if (waits) this.cancel(task);
    }
  }

  private cancel(task: ModelTask): void {
    const { world } = this;
    const { router } = world.node;
    if (!router) return;
    const sentAt = world.oracle.lastIndex;
    const request = world.request("cancel", () => undefined);
    const decided = (code: number) => {
      const list = world.oracle.cancels.get(nameText(name(task))) ?? [];
      const found = list.some(({ index, outcome }) => index > sentAt && outcome === code);
      must(found, "a cancel as it was logged", code);
    };
    router.cancel(task.run.queue.tenant, taskIdOf(name(task))).then(
      (view) =>
        request.answer(
          () =>
            world.acknowledged(() => {
              decided(0);
              must(view.state === "canceled", "a canceled task", view.state);
              world.history.canceled(view.id);
            }),
          () => undefined,
        ),
      (error: unknown) =>
        request.answer(
          () => {
            world.trace(`cancel ${String(error)}`);
            must(error instanceof QueueError, "why a cancel fails", String(error));
            if (error.code === "already_settled") world.acknowledged(() => decided(17));
          },
          () => undefined,
        ),
    );
  }

  /** Reads a task; if nothing happened to it meanwhile, it must be read as it is. */
  private read(task: ModelTask, withResult: boolean): void {
    const { world, random } = this;
    const { router, shard } = world.node;
    if (!router || !shard) return;
    const { model, lastIndex } = world.oracle;
    const before = shard.stats().applied === lastIndex ? snapshotOf(model.task(name(task))) : "";
    const request = world.request("read", () => undefined);
    const id = taskIdOf(name(task));
    const { tenant } = task.run.queue;
    const waitMs = random.pick([0, 200, 2_000]);
    const reading = withResult
      ? router
          .result(tenant, id, { waitMs, consistency: "linearizable" })
          .then((answer) => answer.task)
      : router.task(tenant, id, "linearizable");
    reading.then(
      (view) =>
        request.answer(
          () => this.check(task, before, view),
          () => undefined,
        ),
      (error: unknown) =>
        request.answer(
          () => this.missing(task, before, error),
          () => undefined,
        ),
    );
  }

  private check(task: ModelTask, before: string, view: TaskView): void {
    const { oracle, scenario } = this.world;
    const stored = oracle.payloads.get(nameText(name(task)));
    must(view.payload.toString() === stored, "a payload as it was read", view.id);
    if (scenario.durability.kind !== "always") return;
    const now = oracle.model.task(name(task));
    if (now && snapshotOf(now) === before) checkView(now, view);
  }

  private missing(task: ModelTask, before: string, error: unknown): void {
    const { oracle, scenario } = this.world;
    must(error instanceof QueueError, "why a read fails", String(error));
    if (error.code !== "not_found" || scenario.durability.kind !== "always") return;
    const now = snapshotOf(oracle.model.task(name(task)));
    must(now === "none" || now !== before, "a task that is there is found", now);
  }
}

function name(task: ModelTask): { readonly key: string; readonly place: number } {
  return { key: task.run.key, place: task.place };
}
