/**
 * A naive model of the queue: every task an object, every question a walk over all of them. It
 * says what the rules of SPEC sections 2 and 7 mean; the state machine must agree with it.
 */
import { errorCodes } from "../../src/base/errors.ts";
import { backoffMs } from "../../src/queue/backoff.ts";
import type { Settings } from "../../src/queue/command.ts";
import { taskState } from "../../src/queue/run.ts";
import { defaultSettings } from "../../src/queue/state.ts";
import {
  abandonWait,
  byDue,
  byId,
  isSameAgain,
  type ModelQueue,
  type ModelRun,
  type ModelTask,
  newTask,
  retentionEnd,
} from "./model-task.ts";
import type { Grant, Op, Outcome, SettleItem, TaskName } from "./ops.ts";

export type { ModelTask } from "./model-task.ts";

const { delayed, ready, leased, completed, failed, dead, canceled, removed } = taskState;
const notFound = errorCodes.not_found.number;
const leaseLost = errorCodes.lease_lost.number;

type Of<K extends Op["kind"]> = Extract<Op, { kind: K }>;

export class Model {
  settings: Settings = defaultSettings;
  now = 0;
  readonly runs = new Map<string, ModelRun>();
  readonly queues: ModelQueue[] = [];
  readonly cursors = new Map<string, number>();
  /** Create commands so far: numbers for new runs. */
  created = 0;
  private stamp = 0;
  private tokenOffset = 0;

  apply(op: Op, timeMs: number, index: number, place: number): Outcome {
    this.now = Math.max(this.now, timeMs);
    switch (op.kind) {
      case "create":
        return this.create(op);
      case "claim":
        return this.claim(op, (index + this.tokenOffset) * 4096 + place);
      case "settle":
        return this.settle(op);
      case "cancel":
        return this.cancel(op);
      case "expire":
        return this.expire(op.limit);
      case "redrive":
        return this.redrive(op);
      case "purge":
        return this.purge(op);
      case "pause":
        this.queue(op.tenant, op.queue).paused = op.paused;
        return { kind: "paused", paused: op.paused, code: 0 };
      case "configure":
        this.settings = op.settings;
        return { kind: "done" };
      case "raiseTokens":
        this.tokenOffset += 2 ** 24;
        return { kind: "done" };
    }
  }

  /** All tasks whose records are kept, by run key and place. */
  tasks(): ModelTask[] {
    const all: ModelTask[] = [];
    for (const run of this.runs.values()) {
      for (const task of run.tasks) if (task.state !== removed) all.push(task);
    }
    return all.sort(byId);
  }

  task(name: TaskName): ModelTask | undefined {
    const task = this.runs.get(name.key)?.tasks[name.place];
    return task?.state === removed ? undefined : task;
  }

  private queue(tenant: string, name: string): ModelQueue {
    let queue = this.find(tenant, name);
    if (!queue) {
      queue = { id: this.queues.length + 1, tenant, name, paused: false };
      this.queues.push(queue);
    }
    return queue;
  }

  private find(tenant: string, name: string): ModelQueue | undefined {
    return this.queues.find((queue) => queue.tenant === tenant && queue.name === name);
  }

  private create(op: Of<"create">): Outcome {
    this.created++;
    const before = this.runs.get(op.key);
    if (before && op.hash === null) {
      const code = errorCodes.overloaded.number;
      return { kind: "created", code, duplicate: false, createdAt: this.now, runAt: null };
    }
    if (before) {
      const same =
        before.hash === op.hash &&
        before.queue.tenant === op.tenant &&
        before.tasks.length === op.tasks.length &&
        before.tasks.every((task) => task.state !== removed);
      const code = same ? 0 : errorCodes.idempotency_conflict.number;
      const { createdAt } = before;
      return { kind: "created", code, duplicate: same, createdAt, runAt: null };
    }
    const { now } = this;
    const { key, priority, hash } = op;
    const queue = this.queue(op.tenant, op.queue);
    const run: ModelRun = { key, queue, priority, createdAt: now, hash, tasks: [] };
    const order = ++this.stamp;
    run.tasks = op.tasks.map((spec, place) => newTask(run, place, spec, order));
    this.runs.set(op.key, run);
    const times = run.tasks.map((task) => task.due);
    const runAt = times.some((time) => time > 0) ? times : null;
    return { kind: "created", code: 0, duplicate: false, createdAt: now, runAt };
  }

  /** Ready tasks of a queue and priority, first in first out. */
  line(queue: ModelQueue, priority: number): ModelTask[] {
    const line: ModelTask[] = [];
    for (const run of this.runs.values()) {
      if (run.queue !== queue || run.priority !== priority) continue;
      for (const task of run.tasks) if (task.state === ready) line.push(task);
    }
    return line.sort((a, b) => a.order - b.order || a.place - b.place);
  }

  private claim(op: Of<"claim">, token: number): Outcome {
    const names = op.queues;
    const wanted = this.queues.filter(
      (queue) =>
        queue.tenant === op.tenant && !queue.paused && (names?.includes(queue.name) ?? true),
    );
    const taken: ModelTask[] = [];
    let bytes = 0;
    let full = false;
    let last: ModelQueue | null = null;
    for (let priority = 9; priority >= 0 && taken.length < op.count && !full; priority--) {
      let lines = this.inTurn(wanted, priority, op).map((queue) => this.line(queue, priority));
      while (lines.length > 0 && taken.length < op.count && !full) {
        const share = Math.max(1, Math.floor((op.count - taken.length) / lines.length));
        const going: ModelTask[][] = [];
        for (const line of lines) {
          if (taken.length === op.count || full) break;
          let left = Math.min(share, op.count - taken.length);
          for (; left > 0 && line.length > 0 && !full; left--) {
            const task = line[0] as ModelTask;
            const size = task.size + 420 + 2 * task.run.queue.name.length;
            if (bytes > 0 && bytes + size > op.bytesMax) {
              full = true;
              break;
            }
            bytes += size;
            taken.push(task);
            last = task.run.queue;
            line.shift();
          }
          if (left === 0) going.push(line);
        }
        lines = going;
      }
    }
    if (last && names?.length !== 1) this.cursors.set(op.tenant, last.id);
    return { kind: "claimed", grants: this.lease(op, taken, token) };
  }

  /** Queues with work at this priority, by id from behind the one served last. */
  private inTurn(wanted: ModelQueue[], priority: number, op: Of<"claim">): ModelQueue[] {
    const cursor = this.cursors.get(op.tenant) ?? 0;
    const some = wanted.filter((queue) => this.line(queue, priority).length > 0);
    if (op.queues !== null && some.length < 2) return some;
    const behind = some.filter((queue) => queue.id > cursor).slice(0, op.count);
    if (behind.length === op.count) return behind;
    return behind.concat(some.filter((queue) => queue.id <= cursor).slice(0, op.count));
  }

  private lease(op: Of<"claim">, taken: ModelTask[], token: number): Grant[] {
    const until = this.now + op.leaseMs;
    // Tasks of one group stand together in the answer.
    const groups = new Map<number, ModelTask[]>();
    for (const task of taken) groups.set(task.order, [...(groups.get(task.order) ?? []), task]);
    return [...groups.values()].flat().map((task) => {
      task.state = leased;
      task.attempts++;
      task.order = 0;
      task.due = until;
      task.token = token;
      task.worker = op.worker;
      task.leaseMs = op.leaseMs;
      task.updated = this.now;
      return { key: task.run.key, place: task.place, attempt: task.attempts, token, until };
    });
  }

  private settle(op: Of<"settle">): Outcome {
    let order = 0;
    const items = op.items.map((item, i) => {
      const before = op.items[i - 1];
      // Items of one operation, run and token in a row come back as one group.
      if (before?.op !== item.op || before.key !== item.key || before.token !== item.token) {
        order = ++this.stamp;
      }
      return this.settleOne(op, item, order);
    });
    return { kind: "settled", items };
  }

  private settleOne(op: Of<"settle">, item: SettleItem, order: number) {
    const task = this.task(item);
    if (!task || task.run.queue.tenant !== op.tenant) return { code: notFound, time: 0, dead: 0 };
    const holds = item.token === 0 ? task.worker === op.worker : task.token === item.token;
    if (task.state !== leased || !holds) {
      const again = isSameAgain(task, item);
      return { code: again ? 0 : leaseLost, time: again ? task.updated : 0, dead: 0 };
    }
    return { code: 0, ...this.settleHeld(task, item, order) };
  }

  private settleHeld(task: ModelTask, item: SettleItem, order: number) {
    const { op, result, error } = item;
    switch (op) {
      case "complete":
      case "fail":
        task.trace = op === "complete" && result === null ? null : { op, result, error };
        this.end(task, op === "complete" ? completed : failed);
        return { time: this.now, dead: 0 };
      case "nack": {
        task.trace = error === "" ? null : { op, result: null, error };
        if (task.attempts >= task.max) {
          this.end(task, dead);
          return { time: 0, dead: 1 };
        }
        task.abandons = 0;
        const wait = item.ms < 0 ? this.backoff(task) : item.ms;
        this.comeBack(task, wait, order);
        return { time: wait, dead: 0 };
      }
      case "abandon":
      case "release": {
        task.attempts--;
        if (op === "abandon") task.abandons++;
        const wait = op === "release" ? 0 : abandonWait(task.abandons);
        this.comeBack(task, wait, order);
        return { time: 0, dead: 0 };
      }
      case "heartbeat":
        task.due = this.now + (item.ms || task.leaseMs);
        return { time: task.due, dead: 0 };
    }
  }

  private backoff(task: ModelTask): number {
    return backoffMs(this.settings, task.run.key, task.place, task.attempts);
  }

  private end(task: ModelTask, state: number): void {
    task.state = state;
    task.due = retentionEnd(this.settings, state, this.now);
    task.order = 0;
    task.updated = this.now;
    if (state !== canceled) task.abandons = 0;
  }

  private comeBack(task: ModelTask, wait: number, order: number): void {
    task.state = wait > 0 ? delayed : ready;
    task.due = wait > 0 ? this.now + wait : 0;
    task.order = wait > 0 ? 0 : order;
    task.worker = "";
    task.updated = this.now;
  }

  private cancel(op: Of<"cancel">): Outcome {
    const task = this.task(op);
    const answer = { kind: "canceled", token: 0, worker: "" } as const;
    if (!task || task.run.queue.tenant !== op.tenant) return { ...answer, code: notFound };
    if (task.state === canceled) return { ...answer, code: 0 };
    if (task.state > leased) return { ...answer, code: errorCodes.already_settled.number };
    const token = task.state === leased ? task.token : 0;
    this.end(task, canceled);
    return { kind: "canceled", code: 0, token, worker: task.worker };
  }

  /** Tasks of one run that are due at one time are a step's unit, in (due, run) order. */
  private dueGroups(waits: (task: ModelTask) => boolean): ModelTask[][] {
    const groups = new Map<string, ModelTask[]>();
    for (const task of this.tasks()) {
      if (!waits(task) || task.due > this.now) continue;
      const name = `${task.due} ${task.run.key}`;
      groups.set(name, [...(groups.get(name) ?? []), task]);
    }
    return [...groups.values()].sort((a, b) => byDue(a[0] as ModelTask, b[0] as ModelTask));
  }

  private expire(limit: number): Outcome {
    let count = 0;
    let more = false;
    const take = (groups: ModelTask[][], act: (group: ModelTask[]) => void) => {
      const taken: ModelTask[][] = [];
      for (const group of groups) {
        if (count >= limit || (count > 0 && count + group.length > limit)) break;
        count += group.length;
        taken.push(group);
      }
      more = count >= limit || taken.length < groups.length;
      return () => taken.forEach(act);
    };
    const wake = take(
      this.dueGroups((task) => task.state === delayed || task.state === leased),
      (group) => this.wake(group),
    );
    const ended = this.dueGroups((task) => task.state > leased);
    const remove = more ? () => undefined : take(ended, (group) => this.removeAll(group));
    wake();
    remove();
    return { kind: "expired", count, more };
  }

  private wake(group: ModelTask[]): void {
    const order = ++this.stamp;
    for (const task of group) {
      if (task.state === delayed) {
        this.comeBack(task, 0, order);
        continue;
      }
      task.trace = { op: "expired", result: null, error: "" };
      task.abandons = 0;
      if (task.attempts >= task.max) this.end(task, dead);
      else this.comeBack(task, this.backoff(task), order);
    }
  }

  private removeAll(group: ModelTask[]): void {
    for (const task of group) this.remove(task);
  }

  private remove(task: ModelTask): void {
    task.state = removed;
    if (task.run.tasks.every((other) => other.state === removed)) this.runs.delete(task.run.key);
  }

  private redrive(op: Of<"redrive">): Outcome {
    const queue = this.find(op.tenant, op.queue);
    const named: (ModelTask | undefined)[] =
      op.ids.length > 0 ? op.ids.map((id) => this.task(id)) : this.tasks();
    const limit = op.ids.length > 0 ? op.ids.length : op.limit;
    let count = 0;
    let order = 0;
    let last: ModelRun | null = null;
    for (const task of named) {
      if (count === limit || task?.state !== dead || task.run.queue !== queue) continue;
      if (op.ids.length > 0 || task.run !== last) order = ++this.stamp;
      last = task.run;
      task.attempts = 0;
      task.trace = null;
      this.comeBack(task, 0, order);
      count++;
    }
    return { kind: "redriven", count };
  }

  private purge(op: Of<"purge">): Outcome {
    const queue = this.find(op.tenant, op.queue);
    let count = 0;
    for (const id of op.ids) {
      const task = this.task(id);
      if (!task || task.run.queue !== queue || (op.states & (1 << task.state)) === 0) continue;
      this.remove(task);
      count++;
    }
    return { kind: "purged", count };
  }
}
