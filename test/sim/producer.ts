/** A client that creates tasks: plain, delayed, keyed with repeats and conflicts, under run ids. */
import { codeOfNumber } from "../../src/base/errors.ts";
import { createRunKeySource, formatTaskId, type RunKeySource } from "../../src/base/task-id.ts";
import type { CreateResults, NewTask } from "../../src/router/router.ts";
import { checkCreated, isRefusal, isUnknown, type SentTask } from "./checkers/answers.ts";
import type { Stream } from "./random.ts";
import { must } from "./violation.ts";
import type { World } from "./world.ts";

interface Frame {
  readonly tenant: string;
  readonly items: readonly SentTask[];
  readonly runId: Buffer | null;
  /** Times it may be sent again when nobody knows what became of it. */
  repeats: number;
}

const keys = 6;
const dayMs = 86_400_000;

export class Producer {
  private readonly world: World;
  private readonly random: Stream;
  private readonly runKeys: RunKeySource;

  constructor(world: World, number: number) {
    this.world = world;
    this.random = world.stream(`producer ${number}`);
    const bytes = new Uint8Array(6);
    this.random.source.fill(bytes);
    this.runKeys = createRunKeySource(bytes);
  }

  start(): void {
    const { world, random } = this;
    if (world.draining) return;
    if (world.node.router) this.send(this.frame());
    world.after(random.around(world.scenario.clientEveryMs), () => this.start());
  }

  private frame(): Frame {
    const { random } = this;
    const tenant = random.pick(this.world.scenario.tenants);
    if (random.chance(0.2)) return this.runFrame(tenant);
    const items: SentTask[] = [];
    for (let i = random.pick([1, 1, 2, 3, 9]); i > 0; i--) {
      items.push(this.keepsRecords && random.chance(0.2) ? this.keyed(tenant) : this.plain());
    }
    const repeats = items.every(({ task }) => task.idempotencyKey !== null) ? 3 : 0;
    return { tenant, items, runId: null, repeats };
  }

  /** Repeats give the first answer only while the records live. */
  private get keepsRecords(): boolean {
    const { doneRetentionMs, deadRetentionMs } = this.world.scenario.settings;
    return Math.min(doneRetentionMs, deadRetentionMs) > 365 * dayMs;
  }

  private plain(): SentTask {
    return { payload: this.payload(`p${this.world.nextOp()}`), task: this.task() };
  }

  private payload(marker: string): string {
    return `${marker}:${"x".repeat(this.random.between(0, this.world.scenario.payloadBytes))}`;
  }

  private task(): NewTask {
    const { random, world } = this;
    const now = world.node.shard?.now() ?? 0;
    const timed = random.between(0, 9);
    return {
      queue: random.pick(world.scenario.queues),
      priority: random.pick([0, 0, 0, 5, 9]),
      maxAttempts: random.pick([1, 2, 5]),
      delayMs: timed < 2 ? random.pick([1, 30, 400, 2_500]) : timed === 2 ? dayMs : 0,
      runAtMs: timed === 3 ? Math.max(1, now + random.pick([-1_000, 1, 50, 1_500])) : 0,
      extras: null,
      idempotencyKey: null,
    };
  }

  /** A task that follows from its key, or now and then another one under the same key. */
  private keyed(tenant: string): SentTask {
    const { random } = this;
    const number = random.between(0, keys - 1);
    const other = random.chance(0.15);
    const queue = this.world.scenario.queues[0] as string;
    const delayMs = random.pick([0, 0, 100]);
    return {
      payload: `k ${tenant} ${number} ${other ? "other" : "same"}`,
      task: {
        ...{ queue, priority: number % 3, maxAttempts: 3, delayMs, runAtMs: 0, extras: null },
        idempotencyKey: `key ${number}`,
      },
    };
  }

  private runFrame(tenant: string): Frame {
    const { random, world } = this;
    const id = Buffer.alloc(16);
    this.runKeys.next(world.node.machine.wallMs(), id, 0);
    const first = this.task();
    const items: SentTask[] = [];
    for (let i = random.between(1, 5); i > 0; i--) {
      const { payload, task } = this.plain();
      items.push({ payload, task: { ...task, queue: first.queue, priority: first.priority } });
    }
    const { runTasks } = world.scenario.limits;
    const fits = items.slice(0, runTasks ?? items.length);
    return { tenant, items: fits, runId: id, repeats: this.keepsRecords ? 3 : 0 };
  }

  private send(frame: Frame): void {
    const { world } = this;
    const { router } = world.node;
    if (!router) {
      if (!world.draining) world.after(300, () => this.send(frame));
      return;
    }
    const batch = router.createBatch(frame.tenant);
    for (const { payload, task } of frame.items) {
      world.history.willCreate(payload);
      const bytes = Buffer.from(payload);
      batch.add(task, bytes, 0, bytes.length);
    }
    const sentAt = world.oracle.lastIndex;
    const request = world.request(`create ${frame.items[0]?.payload.slice(0, 12)}`, () =>
      this.again(frame),
    );
    batch.send(frame.runId, (results) => {
      request.answer(
        () => this.record(frame, results, sentAt),
        () => this.answered(frame),
      );
    });
  }

  /** Nobody knows whether it happened. */
  private again(frame: Frame): void {
    if (frame.repeats === 0) return;
    frame.repeats--;
    this.world.after(this.random.around(200), () => this.send(frame));
  }

  /** Now and then a frame is sent again although it was answered. */
  private answered(frame: Frame): void {
    if (this.random.chance(0.1)) this.again(frame);
  }

  private record(frame: Frame, results: CreateResults, sentAt: number): void {
    const { world } = this;
    must(results.count === frame.items.length, "an answer per task", results.count);
    const codes = [...results.codes].map((code) => codeOfNumber(code) ?? "ok").join(" ");
    world.trace(`created ${formatTaskId(results.ids)} ${codes}`);
    const done: number[] = [];
    frame.items.forEach((item, i) => {
      const code = results.codes[i] as number;
      if (isUnknown(code)) return;
      if (!isRefusal(code)) done.push(i);
      else if (frame.runId === null && item.task.idempotencyKey === null) {
        world.history.createRefused(item.payload);
      }
    });
    if (done.length === 0) return;
    world.acknowledged(() => {
      for (const i of done) checkCreated(world, frame, results, i, sentAt);
    });
  }
}
