/** Logged commands in the words of the naive model: the way back from test/queue/ops.ts. */
import { taskIdBytes, taskIdVersion } from "../../../src/base/task-id.ts";
import type { Command, CreateCommand, SettleCommand } from "../../../src/queue/command.ts";
import { settleOps } from "../../../src/queue/command.ts";
import { SettleGroupReader } from "../../../src/queue/settle-groups.ts";
import { RecordCursor } from "../../../src/queue/task-record.ts";
import type { Op, SettleItem, SettleOp, TaskName, TaskSpec } from "../../queue/ops.ts";

const opNames = new Map(
  Object.entries(settleOps).map(([name, number]) => [number as number, name as SettleOp]),
);

export function toOp(command: Command): Op {
  switch (command.kind) {
    case "create":
      return createOp(command);
    case "claim": {
      const { kind, tenant, queues, count, bytesMax, leaseMs, workerId } = command;
      return { kind, tenant, queues, count, bytesMax, leaseMs, worker: workerId };
    }
    case "settle": {
      const { kind, tenant, workerId } = command;
      return { kind, tenant, worker: workerId, items: itemsOf(command) };
    }
    case "cancel": {
      const { kind, tenant, key, place } = command;
      return { kind, tenant, key: key.toString("latin1"), place };
    }
    case "redrive":
    case "purge":
      return { ...command, ids: namesOf(command.ids) };
    default:
      return command;
  }
}

function createOp(command: CreateCommand): Op {
  const { kind, tenant, queue, priority, requestHash, records } = command;
  const tasks: TaskSpec[] = [];
  const cursor = new RecordCursor(records);
  for (let i = 0; i < command.count; i++) {
    cursor.next();
    const { maxAttempts: max, delayMs, runAtMs } = cursor;
    const payload = records.toString("utf8", cursor.payloadFrom, cursor.payloadTo);
    tasks.push({ payload, max, delayMs, runAtMs });
  }
  const hash = requestHash?.toString("latin1") ?? null;
  return { kind, tenant, queue, priority, key: command.key.toString("latin1"), hash, tasks };
}

function itemsOf(command: SettleCommand): SettleItem[] {
  const items: SettleItem[] = [];
  const reader = new SettleGroupReader(command.groups);
  const text = (from: number, to: number) => command.groups.toString("utf8", from, to);
  while (reader.nextGroup()) {
    const op = opNames.get(reader.op) as SettleOp;
    for (let i = 0; i < reader.count; i++) {
      reader.nextItem();
      const { key, place, token } = reader;
      const ms = op === "nack" || op === "heartbeat" ? reader.ms : 0;
      const result = reader.resultFrom < 0 ? null : text(reader.resultFrom, reader.resultTo);
      const error = reader.errorFrom < 0 ? "" : text(reader.errorFrom, reader.errorTo);
      items.push({ key, place, token, op, ms, result, error });
    }
  }
  return items;
}

function namesOf(ids: Buffer): TaskName[] {
  const names: TaskName[] = [];
  for (let at = 0; at < ids.length; at += taskIdBytes) names.push(nameOf(ids, at));
  return names;
}

/** Run key and place of the task whose id stands at ids[at..at+16). */
export function nameOf(ids: Uint8Array, at: number): TaskName {
  const keyed = taskIdVersion(ids, at) === 8;
  const key = Buffer.from(ids.subarray(at, at + (keyed ? 16 : 14))).toString("latin1");
  return { key, place: keyed ? 0 : (ids[at + 14] as number) };
}
