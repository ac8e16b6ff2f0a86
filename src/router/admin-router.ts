/**
 * The admin port over the shards of this node: asks all of them and merges by id or name. Actions
 * on many tasks are logged in steps of at most limits.stepTasks, one after another, so that work
 * of others goes on between them.
 */
import type { Clock, Timers } from "../base/effects.ts";
import { codeOfNumber, QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { isCanonicalTaskId, isTaskId, shardOfTaskId, writeTaskId } from "../base/task-id.ts";
import type { Command, CommandResult } from "../queue/command.ts";
import {
  formatRef,
  readPlaces,
  rowsPerShard,
  type Scan,
  scanTasks,
  type TaskRef,
} from "../shard/listing.ts";
import { countsOf, queueNames } from "../shard/queue-counts.ts";
import { maskOf } from "../shard/reads.ts";
import { findRetained } from "../shard/retained.ts";
import type { Shard } from "../shard/shard.ts";
import type { PeerState } from "../transport/transport.ts";
import type {
  Admin,
  ClusterNodes,
  ListQuery,
  PurgeChoice,
  QueuePage,
  QueueView,
  RaftStatus,
  TaskChoice,
  TaskPage,
} from "./admin.ts";
import { groupOf, type NodeDescription, nodesOf } from "./cluster-look.ts";
import type { ShardTarget } from "./remote-shard.ts";
import type { TaskState, TaskView } from "./router.ts";
import type { ShardRoutes } from "./shard-routes.ts";

export type { NodeDescription };

export interface AdminRouterDeps {
  readonly routes: ShardRoutes;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly self: NodeDescription;
  /** @throws QueueError where the shard takes no command now */
  readonly admit: (shard: ShardTarget) => void;
  /** The other nodes that were ever connected. */
  readonly peers: () => readonly PeerState[];
}

const endedStates: readonly TaskState[] = ["completed", "failed", "dead", "canceled"];

export class AdminRouter implements Admin {
  private readonly deps: AdminRouterDeps;

  constructor(deps: AdminRouterDeps) {
    this.deps = deps;
  }

  // Looks

  async list(tenant: string, query: ListQuery): Promise<TaskPage> {
    const shards = await this.current();
    const filter = { tenant, queue: query.queue, states: maskOf(query.state && [query.state]) };
    const after = query.after?.toString("latin1") ?? "";
    const bounds = { after, limit: query.limit, rows: rowsPerShard(shards.length) };
    const scans: Scan[] = [];
    for (const shard of shards) scans.push(await scanTasks(shard, filter, bounds));
    const { found, end } = merge(scans, query.limit);
    return this.readPage(tenant, query.state, found, end);
  }

  /** Reads what was found, until the page has its bytes. */
  private async readPage(
    tenant: string,
    state: TaskState | null,
    found: readonly Found[],
    end: string | null,
  ): Promise<TaskPage> {
    const tasks: TaskView[] = [];
    let bytes = 0;
    for (let from = 0; from < found.length; ) {
      const { shard, ref } = found[from] as Found;
      let to = from + 1;
      while (found[to]?.ref.runKey === ref.runKey) to++;
      const refs = found.slice(from, to).map((one) => one.ref);
      const reads = await readPlaces(this.replica(shard), tenant, refs);
      for (const [i, read] of reads.entries()) {
        const one = refs[i] as TaskRef;
        // It may have gone on since it was found.
        if (!read || (state !== null && read.state !== state)) continue;
        const { result: _, ...task } = read;
        tasks.push({ id: formatRef(one), ...task });
        bytes += task.payload.length;
        if (bytes > limits.listBytes) return { tasks, next: Buffer.from(one.id, "latin1") };
      }
      from = to;
      await this.turn();
    }
    return { tasks, next: end === null ? null : Buffer.from(end, "latin1") };
  }

  async queues(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<QueuePage> {
    const all = new Set<string>();
    // One more than the page has tells whether there is a next one.
    const bounds = { after: page.after, limit: page.limit + 1 };
    for (const shard of await this.current()) {
      for (const name of await queueNames(shard, tenant, bounds, () => this.turn())) all.add(name);
    }
    const names = [...all].sort();
    const shown = names.slice(0, page.limit);
    const queues: QueueView[] = [];
    for (const [i, name] of shown.entries()) {
      queues.push(await this.countsOf(tenant, name));
      if (i % 100 === 99) await this.turn();
    }
    return { queues, next: names.length > page.limit ? (shown.at(-1) ?? null) : null };
  }

  async queue(tenant: string, name: string): Promise<QueueView> {
    await this.current();
    return this.countsOf(tenant, name);
  }

  private async countsOf(tenant: string, name: string): Promise<QueueView> {
    const view = { ready: 0, delayed: 0, leased: 0, dead: 0, paused: false, oldestReadyAgeMs: 0 };
    let createdPerSecond = 0;
    let settledPerSecond = 0;
    for (const shard of this.deps.routes.replicas()) {
      const queue = shard.state.findQueue(tenant, name);
      if (!queue) continue;
      const counts = await countsOf(shard, queue);
      view.ready += counts.ready;
      view.delayed += counts.delayed;
      view.leased += counts.leased;
      view.dead += counts.dead;
      view.paused ||= counts.paused;
      createdPerSecond += counts.createdPerSecond;
      settledPerSecond += counts.settledPerSecond;
      if (counts.oldestReadyMs === 0) continue;
      view.oldestReadyAgeMs = Math.max(view.oldestReadyAgeMs, shard.now() - counts.oldestReadyMs);
    }
    return { queue: name, ...view, createdPerSecond, settledPerSecond };
  }

  raftStatus(): RaftStatus {
    const { routes, self, clock } = this.deps;
    const peers = this.deps.peers();
    const now = clock.monotonicMs();
    return {
      enabled: self.raftEnabled,
      groups: routes.replicas().map((shard) => groupOf(shard, { self, peers, now })),
    };
  }

  clusterNodes(): ClusterNodes {
    const { routes, self, clock } = this.deps;
    return nodesOf(routes.replicas(), {
      self,
      peers: this.deps.peers(),
      now: clock.monotonicMs(),
    });
  }

  // Actions

  async redrive(tenant: string, queue: string, choice: TaskChoice): Promise<number> {
    const command = (ids: Buffer, limit: number): Command => {
      return { kind: "redrive", tenant, queue, ids, limit };
    };
    if (choice.ids) return this.actOn(choice.ids, choice, (ids) => command(ids, limits.stepTasks));
    let count = 0;
    for (const shard of await this.current()) {
      // Those that die while this runs are left alone: it comes to an end.
      let left = Math.min(choice.limit - count, shard.state.findQueue(tenant, queue)?.dead ?? 0);
      while (left > 0 && !choice.signal.aborted) {
        const step = Math.min(left, limits.stepTasks);
        const done = countOf(await this.submit(shard.id, command(Buffer.alloc(0), step)));
        count += done;
        left = done < step ? 0 : left - done;
      }
    }
    return count;
  }

  async purge(tenant: string, queue: string, choice: PurgeChoice): Promise<number> {
    const states = maskOf(choice.states);
    const command = (ids: Buffer): Command => ({ kind: "purge", tenant, queue, ids, states });
    if (choice.ids) return this.actOn(choice.ids, choice, command);
    let count = 0;
    for (const shard of await this.current()) {
      const filter = { tenant, queue, states };
      let left = choice.limit - count;
      let after: string | null = "";
      // Tasks that come while this runs may be met or not; it stops at what there was.
      left = Math.min(left, tasksOf(shard, tenant, queue));
      while (after !== null && left > 0 && !choice.signal.aborted) {
        const bounds = {
          after,
          limit: Math.min(left, limits.stepTasks),
          rows: limits.listRowsExamined,
        };
        const scan: Scan = await scanTasks(shard, filter, bounds);
        const ids = scan.refs.map((ref) => Buffer.from(ref.id, "latin1"));
        const done = ids.length === 0 ? 0 : await this.step(shard.id, ids, command);
        count += done;
        left -= done;
        after = scan.end;
      }
    }
    return count;
  }

  async pause(tenant: string, queue: string, paused: boolean): Promise<boolean> {
    let isPaused = paused;
    for (let shard = 0; shard < this.deps.routes.shardCount; shard++) {
      const result = await this.submit(shard, { kind: "pause", tenant, queue, paused });
      if (result.kind !== "paused") throw new QueueError("internal", "no result of a pause");
      if (result.code !== 0) {
        throw new QueueError(codeOfNumber(result.code) ?? "internal", "too many queues");
      }
      isPaused = result.paused;
    }
    return isPaused;
  }

  async cleanup(
    tenant: string,
    choice: { readonly beforeMs: number; readonly limit: number; readonly signal: AbortSignal },
  ): Promise<number> {
    const shards = await this.current();
    const states = maskOf(endedStates);
    let count = 0;
    for (const shard of shards) {
      let from: string | null = "";
      const idOf = (runKey: string, place: number) => {
        const id = Buffer.allocUnsafe(16);
        writeTaskId(Buffer.from(runKey, "latin1"), place, shard.id, shards.length, id);
        return id;
      };
      while (from !== null && count < choice.limit && !choice.signal.aborted) {
        const limit = Math.min(choice.limit - count, limits.stepTasks);
        const bounds = { beforeMs: choice.beforeMs, limit };
        const found = await findRetained(shard, tenant, from, bounds, idOf);
        for (const [queue, ids] of found.byQueue) {
          const command = (some: Buffer): Command => {
            return { kind: "purge", tenant, queue, ids: some, states };
          };
          if (ids.length > 0) count += await this.step(shard.id, ids, command);
        }
        from = found.next;
        await this.turn();
      }
    }
    return count;
  }

  /** An action on named tasks: a step for each shard that has some of them. */
  private async actOn(
    ids: readonly Buffer[],
    choice: TaskChoice,
    command: (ids: Buffer) => Command,
  ): Promise<number> {
    const { shardCount } = this.deps.routes;
    const byShard = new Map<number, Buffer[]>();
    for (const id of ids.slice(0, choice.limit)) {
      // No task can have another one.
      if (!isTaskId(id, 0) || !isCanonicalTaskId(id, 0, shardCount)) continue;
      const shard = shardOfTaskId(id, 0, shardCount);
      const own = byShard.get(shard) ?? [];
      own.push(id);
      byShard.set(shard, own);
    }
    let count = 0;
    for (const [shard, own] of byShard) {
      if (choice.signal.aborted) break;
      count += await this.step(shard, own, command);
    }
    return count;
  }

  private async step(
    shard: number,
    ids: readonly Buffer[],
    command: (ids: Buffer) => Command,
  ): Promise<number> {
    return countOf(await this.submit(shard, command(Buffer.concat(ids))));
  }

  /** Every shard is concerned: a node that leads none sends the caller to one that leads. */
  private submit(shard: number, command: Command): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      const { routes, admit } = this.deps;
      const all = Array.from({ length: routes.shardCount }, (_, i) => i);
      const target = routes.target(shard, routes.passesOn(all, "ifConcerned"));
      admit(target);
      const bytes = "ids" in command ? command.ids.length : 0;
      target.submit(command, bytes, { done: resolve, failed: reject });
    });
  }

  /** Replicas of all shards, as of now: what was acknowledged before is in them. */
  private async current(): Promise<readonly Shard[]> {
    const { shardCount } = this.deps.routes;
    const shards = Array.from({ length: shardCount }, (_, i) => this.replica(i));
    await Promise.all(shards.map((shard) => shard.consensus.readBarrier()));
    return shards;
  }

  private replica(shard: number): Shard {
    const { routes } = this.deps;
    const replica = routes.replica(shard);
    if (!replica) throw routes.notLeader(shard);
    return replica;
  }

  private turn(): Promise<void> {
    return new Promise((resolve) => this.deps.timers.soon(resolve));
  }
}

interface Found {
  readonly shard: number;
  readonly ref: TaskRef;
}

/** The first tasks of all shards, as far as every shard has been looked at. */
function merge(
  scans: readonly Scan[],
  limit: number,
): { readonly found: readonly Found[]; readonly end: string | null } {
  let end: string | null = null;
  for (const scan of scans) {
    if (scan.end !== null && (end === null || scan.end < end)) end = scan.end;
  }
  const found: Found[] = [];
  for (const [shard, { refs }] of scans.entries()) {
    for (const ref of refs) if (end === null || ref.id <= end) found.push({ shard, ref });
  }
  found.sort((a, b) => (a.ref.id < b.ref.id ? -1 : 1));
  if (found.length <= limit) return { found, end };
  const shown = found.slice(0, limit);
  return { found: shown, end: shown.at(-1)?.ref.id ?? end };
}

function tasksOf(shard: Shard, tenant: string, name: string): number {
  const queue = shard.state.findQueue(tenant, name);
  if (!queue) return 0;
  return queue.readyTotal + queue.delayed + queue.leased + queue.dead + queue.ended;
}

function countOf(result: CommandResult): number {
  if (result.kind === "redriven" || result.kind === "purged") return result.count;
  throw new QueueError("internal", `no count in ${result.kind}`);
}
