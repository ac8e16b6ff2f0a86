/**
 * A node that stops leads nothing any more: what it leads goes to the voter that is closest behind,
 * and again whatever comes back, since the others do not know that it stops.
 */
import type { TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { Shard } from "../shard/shard.ts";
import type { Cluster } from "./cluster.ts";

export interface RetreatDeps {
  /** Slots by shard: a replica may be replaced by another one. */
  readonly shards: readonly (Shard | null)[];
  readonly cluster: Pick<Cluster, "isConnected">;
  readonly timers: Timers;
}

export interface Retreat {
  /** A shard is led here that another node could lead. */
  readonly isUnderWay: boolean;
  stop(): void;
}

export function startRetreat(deps: RetreatDeps): Retreat {
  let timer: TimerHandle | null = null;
  const handed = () =>
    deps.shards.filter((shard) => shard?.leads === true && successor(shard, deps.cluster) !== null);

  function look(): void {
    for (const shard of deps.shards) {
      if (!shard?.leads) continue;
      const next = successor(shard, deps.cluster);
      if (next !== null) shard.consensus.transferTo(next);
    }
    timer = deps.timers.after(limits.retreatMs, look);
  }

  look();
  return {
    get isUnderWay() {
      return handed().length > 0;
    },
    stop: () => timer?.cancel(),
  };
}

/** The connected voter that is closest behind; null if there is none. */
function successor({ consensus }: Shard, cluster: RetreatDeps["cluster"]) {
  const { raft } = consensus;
  const { progress, transferee } = raft.status();
  const able = progress.filter(
    ({ id, isLearner }) => id !== raft.id && !isLearner && cluster.isConnected(id),
  );
  // One that is under way goes on, or is given up by the group itself.
  if (able.some(({ id }) => id === transferee)) return transferee;
  able.sort((a, b) => b.match - a.match);
  return able[0]?.id ?? null;
}
