/** A client that creates tasks: plain, delayed, keyed with repeats and conflicts, under run ids. */
import { codeOfNumber } from "../../src/base/errors.ts";
import { createRunKeySource, formatTaskId, type RunKeySource } from "../../src/base/task-id.ts";
import type { CreateResults, NewTask } from "../../src/router/router.ts";
import { checkCreated, isRefusal, isUnknown, type SentTask } from "./checkers/answers.ts";
import type { Stream } from "./random.ts";
import { must } from "./violation.ts";
import type { Service, World } from "./world.ts";

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
    const service = world.service(random);
    if (service) this.send(this.frame(service), service);
    world.after(random.around(world.scenario.clientEveryMs), () => this.start());
  }

  private frame(service: Service): Frame {
    const { random } = this;
    const tenant = random.pick(this.world.scenario.tenants);
    if (random.chance(0.2)) return this.runFrame(tenant, service);
    const items: SentTask[] = [];
    for (let i = random.pick([1, 1, 2, 3, 9]); i > 0; i--) {
      const isKeyed = this.keepsRecords && random.chance(0.2);
      items.push(isKeyed ? this.keyed(tenant) : this.plain(service));
    }
    const repeats = items.every(({ task }) => task.idempotencyKey !== null) ? 3 : 0;
    return { tenant, items, runId: null, repeats };
  }

  /** Repeats give the first answer only while the records live. */
  private get keepsRecords(): boolean {
    const { doneRetentionMs, deadRetentionMs } = this.world.scenario.settings;
    return Math.min(doneRetentionMs, deadRetentionMs) > 365 * dayMs;
  }

  private plain(service: Service): SentTask {
    return { payload: this.payload(`p${this.world.nextOp()}`), task: this.task(service) };
  }

  private payload(marker: string): string {
    return `${marker}:${"x".repeat(this.random.between(0, this.world.scenario.payloadBytes))}`;
  }

  private task(service: Service): NewTask {
    const { random, world } = this;
    const now = service.wallMs();
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

  private runFrame(tenant: string, service: Service): Frame {
    const { random, world } = this;
    const id = Buffer.alloc(16);
    this.runKeys.next(service.wallMs(), id, 0);
    const first = this.task(service);
    const items: SentTask[] = [];
    for (let i = random.between(1, 5); i > 0; i--) {
      const { payload, task } = this.plain(service);
      items.push({ payload, task: { ...task, queue: first.queue, priority: first.priority } });
    }
    const fits = items.slice(0, world.scenario.runTasks);
    return { tenant, items: fits, runId: id, repeats: this.keepsRecords ? 3 : 0 };
  }

  private send(frame: Frame, service: Service): void {
    const { world } = this;
    const batch = service.router.createBatch(frame.tenant);
    for (const { payload, task } of frame.items) {
      world.history.willCreate(payload);
      const bytes = Buffer.from(payload);
      batch.add(task, bytes, 0, bytes.length);
    }
    const sentAt = world.truths.map(({ lastIndex }) => lastIndex);
    const request = world.request(`create ${frame.items[0]?.payload.slice(0, 12)}`, service, () =>
      this.again(frame),
    );
    batch.send(frame.runId, (results) => {
      request.answer(
        () => this.record(frame, service, results, sentAt),
        () => this.answered(frame, results),
      );
    });
  }

  /** The same once more; what has no name of its own is another task from now on. */
  private anew(frame: Frame): Frame {
    if (frame.runId) return frame;
    const items = frame.items.map((item) =>
      item.task.idempotencyKey === null
        ? { ...item, payload: this.payload(`p${this.world.nextOp()}`) }
        : item,
    );
    return { ...frame, items };
  }

  /** Nobody knows whether it happened. */
  private again(frame: Frame): void {
    if (frame.repeats === 0) return;
    frame.repeats--;
    this.sendLater(frame, this.random.around(200));
  }

  /** @param hint - the service to send it to */
  private sendLater(frame: Frame, ms: number, hint?: string): void {
    const { world, random } = this;
    world.after(ms, () => {
      const service = world.service(random, hint);
      if (service) this.send(frame, service);
      else if (!world.draining) this.sendLater(frame, 300, hint);
    });
  }

  private answered(frame: Frame, results: CreateResults): void {
    const { random, world } = this;
    const isRefused = results.codes.every((code) => isRefusal(code));
    if (isRefused && !world.draining) {
      // Nothing of it happened: it is sent to who leads, as a client does that is sent there.
      const hint = results.error(0)?.leader?.leaderId;
      const isTriedAgain = hint !== undefined || random.chance(0.5);
      if (isTriedAgain) this.sendLater(this.anew(frame), hint ? 1 : random.around(200), hint);
      return;
    }
    // Now and then a frame is sent again although it was answered.
    if (random.chance(0.1)) this.again(frame);
  }

  private record(
    frame: Frame,
    service: Service,
    results: CreateResults,
    sentAt: readonly number[],
  ): void {
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
    world.acknowledged(service, () => {
      for (const i of done) checkCreated(world, frame, results, i, sentAt);
    });
  }
}
