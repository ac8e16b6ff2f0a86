/** The port through which an edge changes who belongs to the cluster, and who leads. */
import type { NodeAddress } from "../transport/transport.ts";

/** Names of nodes. */
export interface MemberNames {
  readonly voters: readonly string[];
  readonly learners: readonly string[];
}

/** Rejections are QueueErrors: invalid_argument, not_found, no_leader, overloaded, timeout. */
export interface MembersAdmin {
  /** As this node knows it. */
  membership(): MemberNames;
  /**
   * Takes a node in: a learner of every shard first, a voter once it has caught up and the number of
   * voters becomes odd by it. Resolves when it is a learner everywhere.
   */
  add(node: NodeAddress): Promise<MemberNames>;
  /** Removes a node from every shard, the leader too. */
  remove(nodeId: string): Promise<MemberNames>;
  /**
   * Hands leadership over.
   * @param shard - null: of all shards that the target does not lead
   * @param to - null: to the voter that is closest behind
   */
  transfer(shard: number | null, to: string | null): Promise<MemberNames>;
}
