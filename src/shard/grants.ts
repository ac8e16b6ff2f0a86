/** What a claim gave, in the form in which it leaves the shard: columns over one payload block. */
import { writeTaskId } from "../base/task-id.ts";
import type { ClaimedTasks } from "../queue/command.ts";
import { col } from "../queue/run.ts";
import { RecordCursor, type RecordExtras } from "../queue/task-record.ts";
import type { Shard } from "./shard.ts";

/** Texts that travel with a task and that the queue does not look into. */
export interface TaskExtras {
  readonly webhook?: string;
  readonly traceParent?: string;
  readonly traceState?: string;
}

/**
 * Tasks of one claim that lie in one run: same tenant, queue, priority and creation time. Columns
 * have `count` elements. Valid for ever (nothing is reused).
 */
export interface Grant {
  readonly tenant: string;
  readonly queue: string;
  readonly priority: number;
  readonly workerId: string;
  readonly leaseToken: number;
  readonly leaseUntilMs: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly count: number;
  /** 16 bytes per task. */
  readonly ids: Buffer;
  readonly attempts: Uint16Array;
  readonly maxAttempts: Uint16Array;
  /** Payload of task i is block[payloadFrom[i]..payloadTo[i]). */
  readonly block: Buffer;
  readonly payloadFrom: Uint32Array;
  readonly payloadTo: Uint32Array;
  /** null where no task of the grant has any. */
  readonly extras: readonly (TaskExtras | null)[] | null;
}

/** What of a grant is taken from the run's columns, at once; the payload may come later. */
type GrantHead = Omit<Grant, "block" | "payloadFrom" | "payloadTo" | "extras">;

/** @returns null if the records must be read; then call `grantFromStore` */
export function grantInMemory(shard: Shard, claimed: ClaimedTasks, workerId: string): Grant | null {
  const block = shard.records.inMemory(claimed.run);
  return block ? withRecords(headOf(shard, claimed, workerId), claimed.places, block) : null;
}

/**
 * The same where the records are in the store only.
 * @returns null if the run was removed meanwhile
 */
export function grantFromStore(
  shard: Shard,
  claimed: ClaimedTasks,
  workerId: string,
): Promise<Grant | null> {
  const head = headOf(shard, claimed, workerId);
  return shard.records.read(claimed.run.key).then((block) => {
    return block ? withRecords(head, claimed.places, block) : null;
  });
}

function headOf(shard: Shard, claimed: ClaimedTasks, workerId: string): GrantHead {
  const { run, places, attempts } = claimed;
  const count = places.length;
  const key = Buffer.from(run.key, "latin1");
  const ids = Buffer.allocUnsafe(16 * count);
  const maxAttempts = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    const place = places[i] as number;
    writeTaskId(key, place, shard.id, shard.shardCount, ids, 16 * i);
    maxAttempts[i] = run.get(col.MAX_ATTEMPTS, place);
  }
  return {
    tenant: run.queue.tenant.name,
    queue: run.queue.name,
    priority: run.priority,
    workerId,
    leaseToken: claimed.leaseToken,
    leaseUntilMs: claimed.leaseUntil,
    createdAtMs: run.createdAt,
    updatedAtMs: run.get(col.UPDATED, places[0] as number),
    count,
    ids,
    attempts,
    maxAttempts,
  };
}

/** Walks the block once; `places` ascend within one claim of one ready row. */
function withRecords(head: GrantHead, places: Uint8Array, block: Buffer): Grant {
  const { count } = head;
  const payloadFrom = new Uint32Array(count);
  const payloadTo = new Uint32Array(count);
  let extras: (TaskExtras | null)[] | null = null;
  const cursor = new RecordCursor(block);
  let place = -1;
  for (let i = 0; i < count; i++) {
    while (place < (places[i] as number)) {
      cursor.next();
      place++;
    }
    payloadFrom[i] = cursor.payloadFrom;
    payloadTo[i] = cursor.payloadTo;
    const own = cursor.extras();
    if (!own) continue;
    extras ??= new Array<TaskExtras | null>(count).fill(null);
    extras[i] = publicExtras(own);
  }
  // Named one by one: a spread of so many fields costs more than all the rest here.
  return {
    tenant: head.tenant,
    queue: head.queue,
    priority: head.priority,
    workerId: head.workerId,
    leaseToken: head.leaseToken,
    leaseUntilMs: head.leaseUntilMs,
    createdAtMs: head.createdAtMs,
    updatedAtMs: head.updatedAtMs,
    count,
    ids: head.ids,
    attempts: head.attempts,
    maxAttempts: head.maxAttempts,
    block,
    payloadFrom,
    payloadTo,
    extras,
  };
}

/** Absent texts are left out. */
export function publicExtras(extras: RecordExtras): TaskExtras {
  return {
    ...(extras.webhook && { webhook: extras.webhook }),
    ...(extras.traceParent && { traceParent: extras.traceParent }),
    ...(extras.traceState && { traceState: extras.traceState }),
  };
}
