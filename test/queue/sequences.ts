/**
 * Random operations. A step is a few numbers; they become an operation in the light of the model's
 * tasks, so that most hit something, and a shrunk sequence still means something.
 */
import fc from "fast-check";
import type { Settings } from "../../src/queue/command.ts";
import { backoffPolicies } from "../../src/queue/command.ts";
import { taskState } from "../../src/queue/run.ts";
import type { Model } from "./model.ts";
import type { ModelTask } from "./model-task.ts";
import {
  type Op,
  runKeyOf,
  type SettleItem,
  type SettleOp,
  type TaskName,
  type TaskSpec,
} from "./ops.ts";

/** What surrounds the operations: the store and the process. */
export type Event = "none" | "begin" | "land" | "checkpoint" | "race" | "crash" | "crashLanded";

export interface Step {
  readonly action: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly dt: number;
  readonly event: Event;
  /** Same entry as the step before. */
  readonly joined: boolean;
}

const small = fc.nat({ max: 255 });
const events: readonly Event[] = [
  "none",
  "none",
  "none",
  "none",
  "begin",
  "land",
  "checkpoint",
  "race",
  "crash",
  "crashLanded",
];

export const steps = (length: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.record({
      action: fc.nat({ max: 35 }),
      a: small,
      b: small,
      c: small,
      d: small,
      dt: fc.constantFrom(0, 0, 0, -700, 1, 10, 300, 1000, 2500, 9000, 70_000),
      event: fc.constantFrom(...events),
      joined: fc.boolean(),
    }),
    { minLength: 1, maxLength: length, size: "max" },
  );

const tenants = ["acme", "bolt"];
const queueNames = ["mail", "pdf", "sms"];
const workers = ["w1", "w2", "w3"];
const texts = ["", "a", "bb", '{"ok":true}', "x".repeat(400)];

function pick<T>(items: readonly T[], n: number): T {
  return items[n % items.length] as T;
}

/** Turns a step into an operation. */
export function toOp(
  step: Step,
  model: Model,
  lastTokens: ReadonlyMap<string, number>,
  place: number,
): Op {
  const { action, a, b, c, d } = step;
  // One tenant and queue get most of the work, so that runs meet.
  const tenant = tenants[a % 8 === 7 ? 1 : 0] as string;
  const queue = queueNames[b % 4 === 0 ? 1 + (b % 2) : b % 8 === 1 ? 2 : 0] as string;
  if (action < 9) return createOp(step, tenant, queue, model, place);
  if (action < 18) {
    const queues = [null, [queue], [queue, "mail"], ["mail", "pdf", "nowhere", "mail"]];
    const count = pick([1, 2, 3, 8, 40], c);
    const bytesMax = d % 8 === 0 ? 1500 : 1_000_000;
    const leaseMs = pick([1000, 1000, 5000, 30_000], d);
    const worker = pick(workers, a >> 3);
    return { kind: "claim", tenant, queues: pick(queues, b), count, bytesMax, leaseMs, worker };
  }
  if (action < 27) return settleOp(step, model, lastTokens);
  if (action < 28) return { kind: "cancel", tenant, ...nameOf(step, model) };
  if (action < 32) return { kind: "expire", limit: pick([1, 3, 7, 1000], a) };
  if (action < 33) {
    const ids = a % 2 === 0 ? [] : [nameOf(step, model), nameOf({ ...step, b: c }, model)];
    return { kind: "redrive", tenant, queue, ids, limit: pick([1, 2, 5, 1000], d) };
  }
  if (action < 34) {
    const ids = [nameOf(step, model), nameOf({ ...step, b: c }, model)];
    return { kind: "purge", tenant, queue, ids, states: pick([0xff, 0xf0, 0x06, 1 << 6], d) };
  }
  if (action < 35) return { kind: "pause", tenant, queue, paused: a % 3 === 0 };
  return d % 4 === 0 ? { kind: "raiseTokens" } : { kind: "configure", settings: settingsOf(step) };
}

function createOp(step: Step, tenant: string, queue: string, model: Model, place: number): Op {
  const { a, b, c, d } = step;
  const keyed = c % 5 === 0;
  // Few numbers, so that keys come again: as a repetition, a conflict, or after the records went.
  const repeated = keyed || c % 5 === 1;
  const n = repeated ? 100 + (d % 6) : 200 + 5 * model.created + place;
  const count = keyed ? 1 : pick([1, 2, 3, 5, 5, 5, 12], d);
  const hash =
    repeated && (a > 20 || keyed)
      ? `request ${tenant}${queue}${count}`.padEnd(16).slice(0, 16)
      : null;
  const tasks: TaskSpec[] = [];
  for (let i = 0; i < count; i++) {
    const timed = (b + i * c) % 6;
    tasks.push({
      payload: pick(texts, a + i),
      max: pick([1, 2, 3], b + i),
      delayMs: timed === 0 ? pick([1, 500, 1000, 60_000], a) : 0,
      runAtMs: timed === 1 ? Math.max(1, model.now + pick([-5, 1, 1000, 30_000], a)) : 0,
    });
  }
  const priority = pick([0, 0, 0, 5, 9], a);
  return { kind: "create", tenant, queue, priority, key: runKeyOf(n, keyed), hash, tasks };
}

/** A task: mostly one that exists. */
function nameOf(step: Step, model: Model): TaskName {
  const tasks = model.tasks();
  if (step.b % 16 === 15 || tasks.length === 0) return { key: runKeyOf(300, false), place: 0 };
  const { run, place } = pick(tasks, step.b + step.d);
  return { key: run.key, place: step.d % 32 === 31 && run.key.length === 14 ? place + 1 : place };
}

const settleOps: readonly SettleOp[] = [
  "complete",
  "complete",
  "fail",
  "nack",
  "nack",
  "abandon",
  "release",
  "heartbeat",
];

function settleOp(step: Step, model: Model, lastTokens: ReadonlyMap<string, number>): Op {
  const { a, b, c, d } = step;
  const leased = model.tasks().filter((task) => task.state === taskState.leased);
  const items: SettleItem[] = [];
  const worker = pick(workers, d >> 4);
  for (let i = 0; i <= d % 6; i++) {
    const other: TaskName = nameOf({ ...step, b: b + i }, model);
    const held = c % 8 !== 0 && leased.length > 0 ? pick(leased, b + i) : null;
    const name = held ? { key: held.run.key, place: held.place } : other;
    const token = tokenFor(a + i, held, lastTokens.get(`${name.key} ${name.place}`) ?? 0);
    const op = pick(settleOps, c + (a % 4 === 0 ? i : 0));
    const result = op === "complete" || op === "fail" ? pick([null, ...texts], b + i) : null;
    const error = op === "fail" || op === "nack" ? pick(["", "no", "broken"], a + i) : "";
    const ms =
      op === "nack" ? pick([-1, 0, 0, 700], b) : op === "heartbeat" ? pick([0, 2000], b) : 0;
    items.push({ ...name, op, token, ms, result, error });
  }
  return { kind: "settle", tenant: tenants[a % 32 === 31 ? 1 : 0] as string, worker, items };
}

function tokenFor(n: number, task: ModelTask | null, last: number): number {
  if (n % 16 === 15) return 0;
  if (n % 16 === 14) return 4097;
  return task ? task.token : last;
}

function settingsOf(step: Step): Settings {
  return {
    backoffPolicy: pick(backoffPolicies, step.a),
    backoffBaseMs: pick([0, 1, 100, 1000], step.b),
    backoffMaxMs: 2000,
    doneRetentionMs: pick([0, 1000, 5000, 3_600_000], step.c),
    deadRetentionMs: pick([1000, 5000, 20_000], step.c),
  };
}
