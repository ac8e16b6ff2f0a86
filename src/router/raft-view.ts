/** What a node of a Raft cluster knows of the others: what its own replicas know. */
import type { Shard } from "../shard/shard.ts";
import type { PeerCalls } from "./peer-calls.ts";
import type { ClusterView, RemoteLeader } from "./shard-routes.ts";

export interface RaftViewOptions {
  readonly calls: PeerCalls;
  readonly forward: boolean;
  /** Replicas here by shard. */
  readonly shards: readonly (Shard | null)[];
}

export function createRaftView({ calls, forward, shards }: RaftViewOptions): ClusterView {
  return {
    calls,
    forward,
    leaderOf(number): RemoteLeader | null {
      const shard = shards[number];
      if (!shard) return null;
      const { leaderId: storeId, members, raft } = shard.consensus;
      if (storeId === 0 || storeId === raft.id) return null;
      const member = members.find((one) => one.storeId === storeId);
      if (!member) return null;
      const { nodeId: leaderId, http: leaderHttp, grpc: leaderGrpc } = member;
      const hint = { shard: number, term: raft.term, leaderId, leaderHttp, leaderGrpc };
      return { storeId, hint };
    },
  };
}
