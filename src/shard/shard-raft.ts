/** The consensus core of one shard, set up for its log. */
import { toLogIndex } from "../base/brand.ts";
import { limits } from "../base/limits.ts";
import { createRaftNode } from "../raft/raft.ts";
import type { RaftNode } from "../raft/types.ts";
import type { Recovered } from "./recovery.ts";
import type { ShardDeps, ShardOptions } from "./shard-port.ts";

export function createShardRaft(
  deps: ShardDeps,
  options: ShardOptions,
  recovered: Recovered,
): RaftNode {
  return createRaftNode({
    id: options.storeId,
    log: recovered.log,
    appliedIndex: toLogIndex(recovered.applied.index),
    electionTicks: options.electionTicks,
    electionTicksMax: limits.electionGrowth * options.electionTicks,
    heartbeatTicks: 1,
    random: (n) => Math.floor(deps.random.unit() * n),
    asyncStorageWrites: true,
    preVote: true,
    checkQuorum: true,
    maxSizePerMsg: limits.appendBytes,
    maxCommittedSizePerReady: limits.entryBytes,
    maxUncommittedSize: limits.uncommittedBytes,
    maxInflightMsgs: limits.inflightAppends,
    maxInflightBytes: limits.proposerBytes,
    readOnly: "safe",
    // Clients go to the leader themselves, with what they know of their requests.
    disableProposalForwarding: true,
    logger: (text) => deps.logger.debug(text, { shard: options.shard }),
  });
}
