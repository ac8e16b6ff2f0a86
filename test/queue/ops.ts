/**
 * The queue's commands in words that tests like: plain data, no bytes. `toCommand` writes them as
 * the router would; `toOutcome` makes a command's result comparable.
 */
import { ByteWriter } from "../../src/base/bytes.ts";
import { taskIdBytes, writeTaskId } from "../../src/base/task-id.ts";
import type { Command, CommandResult, Settings } from "../../src/queue/command.ts";
import { SettleGroupWriter } from "../../src/queue/settle-groups.ts";
import { encodeTaskRecord } from "../../src/queue/task-record.ts";

export interface TaskSpec {
  readonly payload: string;
  readonly max: number;
  readonly delayMs: number;
  readonly runAtMs: number;
}

export interface TaskName {
  /** latin1 run key */
  readonly key: string;
  readonly place: number;
}

export type SettleOp = "complete" | "fail" | "nack" | "abandon" | "release" | "heartbeat";

export interface SettleItem extends TaskName {
  readonly op: SettleOp;
  readonly token: number;
  /** nack: the delay, -1 = by policy; heartbeat: the extension, 0 = as claimed. */
  readonly ms: number;
  /** complete, fail: the result. */
  readonly result: string | null;
  /** fail: the error; nack: the reason. */
  readonly error: string;
}

export type Op =
  | {
      readonly kind: "create";
      readonly tenant: string;
      readonly queue: string;
      readonly priority: number;
      readonly key: string;
      /** 16 characters, or null for a run of the server's own. */
      readonly hash: string | null;
      readonly tasks: readonly TaskSpec[];
    }
  | {
      readonly kind: "claim";
      readonly tenant: string;
      readonly queues: readonly string[] | null;
      readonly count: number;
      readonly bytesMax: number;
      readonly leaseMs: number;
      readonly worker: string;
    }
  | {
      readonly kind: "settle";
      readonly tenant: string;
      readonly worker: string;
      readonly items: readonly SettleItem[];
    }
  | ({ readonly kind: "cancel"; readonly tenant: string } & TaskName)
  | { readonly kind: "expire"; readonly limit: number }
  | {
      readonly kind: "redrive";
      readonly tenant: string;
      readonly queue: string;
      readonly ids: readonly TaskName[];
      readonly limit: number;
    }
  | {
      readonly kind: "purge";
      readonly tenant: string;
      readonly queue: string;
      readonly ids: readonly TaskName[];
      readonly states: number;
    }
  | {
      readonly kind: "pause";
      readonly tenant: string;
      readonly queue: string;
      readonly paused: boolean;
    }
  | { readonly kind: "configure"; readonly settings: Settings }
  | { readonly kind: "raiseTokens" };

/** A granted task, in the order of the answer. */
export interface Grant extends TaskName {
  readonly attempt: number;
  readonly token: number;
  readonly until: number;
}

export type Outcome =
  | {
      readonly kind: "created";
      readonly code: number;
      readonly duplicate: boolean;
      readonly createdAt: number;
      readonly runAt: readonly number[] | null;
    }
  | { readonly kind: "claimed"; readonly grants: readonly Grant[] }
  | {
      readonly kind: "settled";
      readonly items: readonly { code: number; time: number; dead: number }[];
    }
  | {
      readonly kind: "canceled";
      readonly code: number;
      readonly token: number;
      readonly worker: string;
    }
  | { readonly kind: "expired"; readonly count: number; readonly more: boolean }
  | { readonly kind: "redriven"; readonly count: number }
  | { readonly kind: "purged"; readonly count: number }
  | { readonly kind: "paused"; readonly paused: boolean; readonly code: number }
  | { readonly kind: "done" };

/** The key of a test's n-th run: valid, and in another order than n. 0 ≤ n < 4096. */
export function runKeyOf(n: number, keyed: boolean): string {
  const bytes = Buffer.alloc(keyed ? 16 : 14, 0xa5);
  bytes.writeUIntBE((n * 37) % 4096, 0, 6);
  bytes[6] = keyed ? 0x80 : 0x70;
  bytes[8] = 0x80;
  return bytes.toString("latin1");
}

export function taskIdOf(task: TaskName): Buffer {
  const id = Buffer.alloc(taskIdBytes);
  writeTaskId(Buffer.from(task.key, "latin1"), task.place, 0, 1, id);
  return id;
}

export function recordsOf(tasks: readonly TaskSpec[]): Buffer {
  const out = new ByteWriter(256);
  for (const { payload, max, delayMs, runAtMs } of tasks) {
    const bytes = Buffer.from(payload);
    const record = { maxAttempts: max, delayMs, runAtMs, extras: null };
    encodeTaskRecord(out, record, bytes, 0, bytes.length);
  }
  return out.finish();
}

export function toCommand(op: Op): Command {
  switch (op.kind) {
    case "create": {
      const { kind, tenant, queue, priority, tasks } = op;
      const requestHash = op.hash === null ? null : Buffer.from(op.hash, "latin1");
      const key = Buffer.from(op.key, "latin1");
      const count = tasks.length;
      return { kind, tenant, queue, priority, key, count, requestHash, records: recordsOf(tasks) };
    }
    case "claim": {
      const { kind, tenant, queues, count, bytesMax, leaseMs, worker } = op;
      return { kind, tenant, queues, count, bytesMax, leaseMs, workerId: worker };
    }
    case "settle": {
      const { kind, tenant, worker, items } = op;
      return { kind, tenant, workerId: worker, count: items.length, groups: groupsOf(items) };
    }
    case "cancel":
      return {
        kind: "cancel",
        tenant: op.tenant,
        key: Buffer.from(op.key, "latin1"),
        place: op.place,
      };
    case "redrive":
    case "purge":
      return { ...op, ids: Buffer.concat(op.ids.map(taskIdOf)) };
    default:
      return op;
  }
}

function groupsOf(items: readonly SettleItem[]): Buffer {
  const out = new SettleGroupWriter();
  for (const item of items) {
    const id = taskIdOf(item);
    const { token } = item;
    const result = item.result === null ? null : Buffer.from(item.result);
    const error = Buffer.from(item.error);
    if (item.op === "complete") out.complete(id, 0, token, result);
    else if (item.op === "fail") out.fail(id, 0, token, error, result);
    else if (item.op === "nack") out.nack(id, 0, token, item.ms, error);
    else if (item.op === "heartbeat") out.heartbeat(id, 0, token, item.ms);
    else out[item.op](id, 0, token);
  }
  return out.finish();
}

export function toOutcome(result: CommandResult): Outcome {
  switch (result.kind) {
    case "created":
      return { ...result, runAt: result.runAt ? [...result.runAt] : null };
    case "claimed": {
      const grants: Grant[] = [];
      for (const { run, places, attempts, leaseToken, leaseUntil } of result.grants) {
        places.forEach((place, i) => {
          const attempt = attempts[i] as number;
          grants.push({ key: run.key, place, attempt, token: leaseToken, until: leaseUntil });
        });
      }
      return { kind: "claimed", grants };
    }
    case "settled": {
      const { codes, times, dead } = result;
      const items = [...codes].map((code, i) => ({
        code,
        time: times[i] as number,
        dead: dead[i] as number,
      }));
      return { kind: "settled", items };
    }
    case "canceled":
      return {
        kind: "canceled",
        code: result.code,
        token: result.leaseToken,
        worker: result.workerId,
      };
    default:
      return result;
  }
}
