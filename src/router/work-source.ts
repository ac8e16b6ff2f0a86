/**
 * Where claims of this node may find work: the replicas here, and, of shards that have none here,
 * what the node that has it tells (work-watch.ts).
 */
import type { ShardId } from "../base/brand.ts";
import type { Shard } from "../shard/shard.ts";

/** What a waiting claim looks at of a queue. */
export interface WorkQueue {
  readonly name: string;
  readonly tenant: { readonly name: string };
  readonly paused: boolean;
  /** Ready tasks per priority. */
  readonly ready: readonly number[];
  readonly readyTotal: number;
  /** It is known by hearsay: claims that wait for any queue go by the one named `anyQueue`. */
  readonly isTold?: boolean;
}

/** Stands for all queues of a tenant in what nodes tell each other; no queue has this name. */
export const anyQueue = "";

export type WorkSource = Shard | ToldShard;

/** What waiting claims need to find work in shards of which there is no replica here. */
export interface Elsewhere {
  /** A claim begins to wait for these queues, or for any; each call is followed by one of unwatch. */
  watch(tenant: string, queues: readonly string[] | null): void;
  unwatch(tenant: string, queues: readonly string[] | null): void;
  /** Asks what there is now; the sources are up to date when it calls back, never inside the call. */
  ask(tenant: string, queues: readonly string[] | null, done: () => void): void;
  /** A queue of a shard here has ready tasks for which no claim here asks. */
  spare(queue: WorkQueue): void;
}

/** What was told of one queue. */
export interface ToldWork {
  readonly tenant: string;
  /** A name, or `anyQueue`. */
  readonly queue: string;
  /** Ten numbers. */
  readonly ready: readonly number[];
}

class ToldQueue implements WorkQueue {
  readonly isTold = true;
  readonly paused = false;
  readonly name: string;
  readonly tenant: ToldTenant;
  ready: readonly number[] = [];
  readyTotal = 0;

  constructor(tenant: ToldTenant, name: string) {
    this.tenant = tenant;
    this.name = name;
  }
}

class ToldTenant {
  readonly name: string;
  readonly queues = new Map<string, ToldQueue>();
  /** Per priority the queue that stands for all, if there is work. */
  readonly claimable: ToldQueue[][] = Array.from({ length: 10 }, () => []);

  constructor(name: string) {
    this.name = name;
  }
}

/** A shard without replica here, as the node that has it tells of it. */
export class ToldShard {
  readonly id: ShardId;
  readonly leads = false;
  readonly state: { readonly tenants: Map<string, ToldTenant> } = { tenants: new Map() };
  private waiting: (() => void)[] = [];

  constructor(id: ShardId) {
    this.id = id;
  }

  /** @returns the queues that have work, as they are now */
  tell(works: readonly ToldWork[]): readonly WorkQueue[] {
    const found: WorkQueue[] = [];
    for (const work of works) {
      const queue = this.note(work);
      if (queue.readyTotal > 0) found.push(queue);
    }
    for (const callback of this.waiting.splice(0)) callback();
    return found;
  }

  private note({ tenant: tenantName, queue: name, ready }: ToldWork): WorkQueue {
    const { tenants } = this.state;
    const tenant = tenants.get(tenantName) ?? new ToldTenant(tenantName);
    tenants.set(tenantName, tenant);
    const queue = tenant.queues.get(name) ?? new ToldQueue(tenant, name);
    tenant.queues.set(name, queue);
    queue.ready = ready;
    queue.readyTotal = ready.reduce((sum, count) => sum + count, 0);
    if (name !== anyQueue) return queue;
    for (const [priority, list] of tenant.claimable.entries()) {
      list.length = 0;
      if ((ready[priority] ?? 0) > 0) list.push(queue);
    }
    return queue;
  }

  /** Calls back at the next word: the owner sends one behind the answer of each claim. */
  whenTold(callback: () => void): void {
    this.waiting.push(callback);
  }

  /** Nobody listens for this queue any more. */
  drop(tenantName: string, name: string): void {
    const tenant = this.state.tenants.get(tenantName);
    if (!tenant?.queues.delete(name)) return;
    if (name === anyQueue) for (const list of tenant.claimable) list.length = 0;
    if (tenant.queues.size === 0) this.state.tenants.delete(tenantName);
  }

  /** The owner cannot be reached: nothing is known of it. */
  forget(): void {
    this.state.tenants.clear();
    for (const callback of this.waiting.splice(0)) callback();
  }
}
