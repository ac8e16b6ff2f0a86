/**
 * Spreads leadership over the nodes: each shard has a voter that should lead it, by the order of the
 * voters' names; who leads in its place hands over once that voter has been there, and has kept up,
 * for a while.
 */
import type { StoreId } from "../base/brand.ts";
import type { Clock, Logger, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { Shard } from "../shard/shard.ts";
import type { Cluster } from "./cluster.ts";

export interface BalanceDeps {
  readonly cluster: Cluster;
  readonly shards: readonly (Shard | null)[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

export interface LeaderBalance {
  stop(): void;
}

export function startLeaderBalance(deps: BalanceDeps): LeaderBalance {
  const since = new Map<StoreId, number>();
  let stopped = false;

  function look(): void {
    if (stopped) return;
    deps.timers.after(limits.balanceMs, look);
    noteConnected();
    for (const shard of deps.shards) {
      if (!shard?.leads) continue;
      const wanted = preferred(shard, deps.cluster);
      if (wanted === null || wanted === shard.consensus.raft.id) continue;
      if (!hasBeenThere(wanted) || !hasCaughtUp(shard, wanted)) continue;
      deps.logger.info("hands a shard to the node that should lead it", { shard: shard.id });
      shard.consensus.transferTo(wanted);
      // One at a time, so that a bad hand-over concerns one shard.
      return;
    }
  }

  function noteConnected(): void {
    const now = deps.clock.monotonicMs();
    for (const { storeId } of deps.cluster.members()) {
      if (!deps.cluster.isConnected(storeId)) since.delete(storeId);
      else if (!since.has(storeId)) since.set(storeId, now);
    }
  }

  function hasBeenThere(storeId: StoreId): boolean {
    const at = since.get(storeId);
    return at !== undefined && deps.clock.monotonicMs() - at >= limits.balanceSteadyMs;
  }

  deps.timers.after(limits.balanceMs, look);
  return {
    stop: () => {
      stopped = true;
    },
  };
}

function preferred(shard: Shard, cluster: Cluster): StoreId | null {
  const { members, raft } = shard.consensus;
  const { voters, votersOutgoing } = raft.membership;
  // With a single shard nothing is to be spread: it stays where it is.
  if (shard.shardCount === 1 || votersOutgoing.length > 0) return null;
  const named = voters.map((id) => {
    const member =
      id === cluster.self.storeId ? cluster.self : members.find((m) => m.storeId === id);
    return { id, name: member?.nodeId ?? "" };
  });
  named.sort((a, b) => (a.name < b.name ? -1 : 1));
  return named[shard.id % named.length]?.id ?? null;
}

function hasCaughtUp(shard: Shard, storeId: StoreId): boolean {
  const { raft } = shard.consensus;
  const member = raft.status().progress.find(({ id }) => id === storeId);
  if (!member?.recentActive || member.state !== "replicate") return false;
  if (shard.consensus.steadyMs(storeId) < limits.balanceSteadyMs) return false;
  return member.match + limits.caughtUpEntries >= raft.commitIndex;
}
