/** What must hold in every run, and what was promised to clients. */
import type { ShardId } from "../../../src/base/brand.ts";
import { ByteReader } from "../../../src/base/bytes.ts";
import { exportRows } from "../../../src/queue/invariants.ts";
import { prefixes } from "../../../src/queue/keys.ts";
import { NO_ONE } from "../../../src/raft/types.ts";
import { stateKey } from "../../../src/shard/checkpoint.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { readRecord } from "../../../src/storage/record.ts";
import { valuesOf } from "../checkers/state.ts";
import { must } from "../violation.ts";
import type { ClusterScenario } from "./scenario.ts";
import type { SimNode } from "./sim-node.ts";

/** A task as a worker was given it. */
export interface Lease {
  readonly attempts: number;
  /** When the worker asked, for how many ms, and when it had the answer. */
  readonly calledUs: number;
  readonly leaseMs: number;
  readonly answeredUs: number;
}

export class Checks {
  memberChanges = 0;
  private readonly nowUs: () => number;
  /** No wall clock is wrong when a process starts. */
  private readonly wallsAreRight: boolean;
  /** The most that a clock runs fast by, following a wall clock included. */
  private readonly rate: number;
  /** The most that a machine's own clock runs fast or slow by. */
  private readonly drift: number;
  private readonly trace: (line: string) => void;
  /** Ids of acknowledged tasks by key. */
  readonly created = new Map<string, string>();
  /** Tasks whose completion was acknowledged, with the token that it carried. */
  readonly settled = new Map<string, number>();
  /** Of each task: what workers were given, by lease token. */
  private readonly leases = new Map<string, Map<number, Lease>>();
  private readonly givenBack = new Set<string>();
  private readonly keyOfId = new Map<string, string>();

  constructor(
    { faults, clocks }: ClusterScenario,
    trace: (line: string) => void,
    nowUs: () => number,
  ) {
    this.trace = trace;
    this.nowUs = nowUs;
    this.drift = clocks.rate;
    this.rate = 0.005 + clocks.rate;
    this.wallsAreRight = clocks.offsetMs <= 1 && clocks.rate < 0.01 && !faults.has("jump");
  }

  /** A replica changes its role, or its leader. */
  role(node: SimNode, shard: Shard): void {
    const { role, term, leaderId } = shard.consensus.raft;
    if (role === "follower" && leaderId !== NO_ONE) this.told.add(shard);
    const hasWallOnly = role === "leader" && !this.told.has(shard);
    if (hasWallOnly && !this.wallsAreRight) this.leapsUs.push(this.nowUs());
    this.trace(`${node.name}/${shard.id} ${role} ${term} of ${leaderId}`);
  }

  private readonly memberships = new Map<ShardId, string>();

  /** A replica has another membership. */
  members(node: SimNode, shard: Shard): void {
    const { voters, votersOutgoing, learners } = shard.consensus.raft.membership;
    const text = `${voters} (${votersOutgoing}) ${learners}`;
    this.trace(`${node.name}/${shard.id} members ${text}`);
    if (!shard.leads || this.memberships.get(shard.id) === text) return;
    this.memberships.set(shard.id, text);
    this.memberChanges++;
  }

  // Time

  /** Replicas that have heard, since they began, what time it is for a leader. */
  private readonly told = new WeakSet<Shard>();
  /** When the time of leaders may have gone from one wall clock to another. */
  private readonly leapsUs: number[] = [];
  /** Of each key: when it was asked for, and the ms before which no worker may get it. */
  private readonly asks = new Map<string, { readonly fromUs: number; readonly delayMs: number }>();

  /** A create is asked for, perhaps once more: the first one to be logged counts. */
  asked(key: string, fromUs: number, delayMs: number): void {
    if (!this.asks.has(key)) this.asks.set(key, { fromUs, delayMs });
  }

  /** Whether so many ms can have gone by for those who lead. */
  private canHavePassed(ms: number, fromUs: number, toUs: number): boolean {
    // A leader that starts on its own wall clock may be ahead of the one before; one that follows
    // goes by its own clock for up to four seconds.
    const aheadMs =
      4 + 8_000 * this.drift + (this.wallsAreRight ? (2 * this.drift * toUs) / 1000 : 0);
    const leastUs = Math.max(0, ms * (1 - this.rate) - aheadMs) * 1000;
    return toUs >= fromUs + leastUs || this.leapsUs.some((at) => at >= fromUs && at <= toUs);
  }

  /** Whether another claim of the task is known to be newer than this token's. */
  isStale(id: string, token: number): boolean {
    for (const other of this.leases.get(id)?.keys() ?? []) if (other > token) return true;
    return false;
  }

  acknowledged(key: string, id: string): void {
    const known = this.created.get(key) ?? id;
    must(known === id, "one task per key", key, known, id);
    const other = this.keyOfId.get(id) ?? key;
    must(other === key, "one key per task", id, other, key);
    this.created.set(key, id);
    this.keyOfId.set(id, key);
  }

  /** A task is in the hands of a worker. */
  delivered(id: string, payload: string, token: number, lease: Lease): void {
    const { fromUs, delayMs } = this.asks.get(payload) ?? { fromUs: Infinity, delayMs: 0 };
    const isDue = this.canHavePassed(delayMs, fromUs, lease.answeredUs);
    must(isDue, "no delivery before its time", id, payload, fromUs, delayMs);
    // An answer may be late: only a claim that was made after the settled one must not be.
    const settled = this.settled.get(id) ?? Number.POSITIVE_INFINITY;
    must(token <= settled, "no claim after an acknowledged settle", id, token, settled);
    const key = this.keyOfId.get(id) ?? payload;
    must(key === payload, "the payload that was sent", id, key, payload);
    const leases = this.leases.get(id) ?? new Map<number, Lease>();
    must(!leases.has(token), "a lease token is given once", id, token);
    for (const [other, known] of leases) {
      const isOlder = other < token;
      const grows = isOlder === known.attempts < lease.attempts;
      must(grows, "tokens grow as claims do", id, other, token);
      const [first, next] = isOlder ? [known, lease] : [lease, known];
      const hasEnded =
        this.givenBack.has(`${id} ${Math.min(other, token)}`) ||
        this.canHavePassed(first.leaseMs, first.calledUs, next.answeredUs);
      must(hasEnded, "a lease holds for its time", id, other, token, first.calledUs);
    }
    this.leases.set(id, leases.set(token, lease));
  }

  /** A worker does not want a task that it was given, if its word arrives. */
  givesBack(id: string, token: number): void {
    this.givenBack.add(`${id} ${token}`);
  }
}

const ownPrefixes: ReadonlySet<string> = new Set<string>([prefixes.log, prefixes.meta]);
const stateRow = stateKey.toString("latin1");

interface Rows {
  readonly name: string;
  /** Key and value as texts, in the order of the keys. */
  readonly rows: readonly string[];
}

/** The rows of a shard that stands still, without the log and what belongs to the replica. */
function storedRows(node: SimNode, shard: ShardId): Rows & { readonly applied: number } {
  const { rows } = node.disk.store(node.storePath(shard));
  const texts: string[] = [];
  for (let i = 0; i < rows.size; i++) {
    const key = rows.keyAt(i);
    if (!ownPrefixes.has(key.slice(0, 1))) texts.push(rowText(key, rows.get(key) as Buffer));
  }
  const state = readRecord(stateKey, rows.get(stateRow) as Buffer);
  return { name: node.name, rows: texts, applied: new ByteReader(state).u64() };
}

/** The state of a replica that runs: its rows as a checkpoint would leave them. */
function liveRows(node: SimNode, shard: ShardId): Rows {
  const { state } = node.shards[shard] as Shard;
  const stored = valuesOf(node.disk.store(node.storePath(shard)).rows);
  const rows = [...exportRows(state, stored)].map(([key, value]) => rowText(key, value));
  return { name: node.name, rows: rows.sort() };
}

function rowText(key: string, value: Uint8Array): string {
  return `${Buffer.from(key, "latin1").toString("hex")}=${Buffer.from(value).toString("hex")}`;
}

/** Q12: replicas that have applied the same log hold the same state, whatever they went through. */
export function sameStates(nodes: readonly SimNode[], shard: ShardId): void {
  const [first, ...others] = nodes.map((node) => liveRows(node, shard));
  for (const other of others) same(first as Rows, other);
}

/** The same of what lies on their disks, as far as they ended at the same index. */
export function sameRows(nodes: readonly SimNode[], shard: ShardId): void {
  const byIndex = new Map<number, Rows>();
  for (const node of nodes) {
    const found = storedRows(node, shard);
    const known = byIndex.get(found.applied);
    if (known) same(known, found);
    else byIndex.set(found.applied, found);
  }
}

function same(first: Rows, other: Rows): void {
  const at = first.rows.findIndex((row, i) => row !== other.rows[i]);
  must(
    at < 0 && other.rows.length === first.rows.length,
    "replicas hold the same rows",
    `${first.name} ${first.rows.length}, ${other.name} ${other.rows.length}`,
    first.rows[at]?.slice(0, 120),
    other.rows[at]?.slice(0, 120),
  );
}
