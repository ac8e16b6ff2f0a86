/**
 * The admin port over the shards of this node: asks all of them and merges by id or name. Actions
 * on many tasks are logged in steps of at most limits.stepTasks, one after another, so that work
 * of others goes on between them.
 */
import type { Clock, Timers } from "../base/effects.ts";
import { codeOfNumber, QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { shardOfTask } from "../base/task-id.ts";
import type { Command, CommandResult } from "../queue/command.ts";
import { formatRef, rowsPerShard, type Scan, type TaskRef } from "../shard/listing.ts";
import { maskOf } from "../shard/reads.ts";
import type { Retained } from "../shard/retained.ts";
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
import {
  groupElsewhere,
  groupOf,
  type Look,
  type NodeDescription,
  nodesOf,
  nodesOfPlaces,
  type ShardPlace,
} from "./cluster-look.ts";
import { lookThere } from "./remote-look.ts";
import type { ShardTarget } from "./remote-shard.ts";
import type { TaskState, TaskView } from "./router.ts";
import { lookHere, type ShardLook } from "./shard-look.ts";
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
  /** Where the shards lie in the hash-routed mode, by number; absent in others. */
  readonly places?: readonly ShardPlace[];
}

const endedStates: readonly TaskState[] = ["completed", "failed", "dead", "canceled"];

export class AdminRouter implements Admin {
  private readonly deps: AdminRouterDeps;

  constructor(deps: AdminRouterDeps) {
    this.deps = deps;
  }

  // Looks

  async list(tenant: string, query: ListQuery): Promise<TaskPage> {
    const looks = await this.current();
    const filter = { tenant, queue: query.queue, states: maskOf(query.state && [query.state]) };
    const after = query.after?.toString("latin1") ?? "";
    const bounds = { after, limit: query.limit, rows: rowsPerShard(looks.length) };
    const scans: Scan[] = [];
    for (const look of looks) scans.push(await look.scan(filter, bounds));
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
      const reads = await this.look(shard).read(tenant, refs);
      for (const [i, read] of reads.entries()) {
        const one = refs[i] as TaskRef;
        // It may have gone on since it was found.
        if (!read || (state !== null && read.state !== state)) continue;
        const { result: _, ...task } = read;
        tasks.push({ id: formatRef(one), ...task });
        bytes += task.payload.length;
        if (bytes > limits.listBytes) return { tasks, next: Buffer.from(one.id, "latin1") };
      }
      from += reads.length;
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
    for (const look of await this.current()) {
      for (const name of await look.names(tenant, bounds)) all.add(name);
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
    const all = await Promise.all(this.looks().map((look) => look.counts(tenant, name)));
    for (const counts of all) {
      if (!counts) continue;
      view.ready += counts.ready;
      view.delayed += counts.delayed;
      view.leased += counts.leased;
      view.dead += counts.dead;
      view.paused ||= counts.paused;
      createdPerSecond += counts.createdPerSecond;
      settledPerSecond += counts.settledPerSecond;
      view.oldestReadyAgeMs = Math.max(view.oldestReadyAgeMs, counts.oldestReadyAgeMs);
    }
    return { queue: name, ...view, createdPerSecond, settledPerSecond };
  }

  raftStatus(): RaftStatus {
    const { routes, self, places = [] } = this.deps;
    const look = this.clusterLook();
    const groups = routes.replicas().map((shard) => groupOf(shard, look));
    for (const place of places) {
      if (place.nodeId !== self.id) groups.push(groupElsewhere(place, look));
    }
    groups.sort((a, b) => a.shard - b.shard);
    return { enabled: self.raftEnabled, groups };
  }

  clusterNodes(): ClusterNodes {
    const { routes, places } = this.deps;
    const look = this.clusterLook();
    return places ? nodesOfPlaces(places, look) : nodesOf(routes.replicas(), look);
  }

  private clusterLook(): Look {
    const { self, clock, peers } = this.deps;
    return { self, peers: peers(), now: clock.monotonicMs() };
  }

  // Actions

  async redrive(tenant: string, queue: string, choice: TaskChoice): Promise<number> {
    const command = (ids: Buffer, limit: number): Command => {
      return { kind: "redrive", tenant, queue, ids, limit };
    };
    if (choice.ids) return this.actOn(choice.ids, choice, (ids) => command(ids, limits.stepTasks));
    let count = 0;
    for (const look of await this.current()) {
      // Those that die while this runs are left alone: it comes to an end.
      const dead = (await look.counts(tenant, queue))?.dead ?? 0;
      let left = Math.min(choice.limit - count, dead);
      while (left > 0 && !choice.signal.aborted) {
        const step = Math.min(left, limits.stepTasks);
        const done = countOf(await this.submit(look.id, command(Buffer.alloc(0), step)));
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
    for (const look of await this.current()) {
      const filter = { tenant, queue, states };
      let after: string | null = "";
      // Tasks that come while this runs may be met or not; it stops at what there was.
      const tasks = (await look.counts(tenant, queue))?.tasks ?? 0;
      let left = Math.min(choice.limit - count, tasks);
      while (after !== null && left > 0 && !choice.signal.aborted) {
        const bounds = {
          after,
          limit: Math.min(left, limits.stepTasks),
          rows: limits.listRowsExamined,
        };
        const scan: Scan = await look.scan(filter, bounds);
        const ids = scan.refs.map((ref) => Buffer.from(ref.id, "latin1"));
        const done = ids.length === 0 ? 0 : await this.step(look.id, ids, command);
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
    const states = maskOf(endedStates);
    let count = 0;
    for (const look of await this.current()) {
      let from: string | null = "";
      while (from !== null && count < choice.limit && !choice.signal.aborted) {
        const limit = Math.min(choice.limit - count, limits.stepTasks);
        const bounds = { beforeMs: choice.beforeMs, limit };
        const found: Retained = await look.retained(tenant, from, bounds);
        for (const [queue, ids] of found.byQueue) {
          const command = (some: Buffer): Command => {
            return { kind: "purge", tenant, queue, ids: some, states };
          };
          if (ids.length > 0) count += await this.step(look.id, ids, command);
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
      const shard = shardOfTask(id, 0, shardCount);
      if (shard < 0) continue;
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

  /** Looks at all shards, as of now: what was acknowledged before is in them. */
  private async current(): Promise<readonly ShardLook[]> {
    const looks = this.looks();
    await Promise.all(looks.map((look) => look.barrier()));
    return looks;
  }

  private looks(): readonly ShardLook[] {
    return Array.from({ length: this.deps.routes.shardCount }, (_, i) => this.look(i));
  }

  /** @throws QueueError not_leader, no_leader: nobody can be asked */
  private look(shard: number): ShardLook {
    const { routes } = this.deps;
    const replica = routes.replica(shard);
    if (replica) return lookHere(replica, () => this.turn());
    const remote = routes.remote(shard);
    if (!remote) throw routes.notLeader(shard);
    return lookThere(remote);
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

function countOf(result: CommandResult): number {
  if (result.kind === "redriven" || result.kind === "purged") return result.count;
  throw new QueueError("internal", `no count in ${result.kind}`);
}
