/** How the cluster looks from this node: its groups, and the nodes that it knows. */
import type { StoreId } from "../base/brand.ts";
import type { Shard } from "../shard/shard.ts";
import type { NodeAddress, PeerState } from "../transport/transport.ts";
import type { ClusterNode, ClusterNodes, RaftGroup } from "./admin.ts";

/** What this node tells of itself. */
export interface NodeDescription {
  readonly id: string;
  readonly version: string;
  readonly raftEnabled: boolean;
  readonly raftAddr: string;
  readonly httpUrl: string;
  readonly grpcAddr: string;
}

export interface Look {
  readonly self: NodeDescription;
  readonly peers: readonly PeerState[];
  /** Monotonic ms. */
  readonly now: number;
}

export function groupOf(shard: Shard, look: Look): RaftGroup {
  const { term, commitIndex, appliedIndex, lastIndex, progress } = shard.consensus.status();
  const membership = shard.consensus.settledMembers();
  const names = (ids: readonly StoreId[]) => ids.map((id) => nameOf(shard, id, look));
  const { leaderId } = shard.consensus;
  const leader = shard.consensus.members.find(({ storeId }) => storeId === leaderId);
  const isOwn = leaderId === shard.consensus.raft.id;
  return {
    shard: shard.id,
    isLeader: shard.leads,
    selfId: look.self.id,
    leaderId: leaderId === 0 ? "" : nameOf(shard, leaderId, look),
    leaderHttp: isOwn ? look.self.httpUrl : (leader?.http ?? ""),
    ...{ term, commitIndex, appliedIndex, lastIndex },
    voters: names(membership.voters),
    learners: names(membership.learners),
    followers: progress
      .filter(({ id }) => id !== shard.consensus.raft.id)
      .map(({ id, match }) => ({
        id: nameOf(shard, id, look),
        matchIndex: match,
        lastContactMs: contactOf(look, id),
      })),
  };
}

function nameOf(shard: Shard, id: StoreId, { self }: Look): string {
  const { consensus } = shard;
  if (id === consensus.raft.id) return self.id;
  return consensus.members.find(({ storeId }) => storeId === id)?.nodeId ?? String(id);
}

/** Ms since a node was last heard. */
function contactOf({ peers, now }: Look, id: StoreId): number {
  const peer = peers.find(({ storeId }) => storeId === id);
  return peer ? Math.max(0, Math.round(now - peer.lastContactMs)) : 0;
}

export function nodesOf(shards: readonly Shard[], look: Look): ClusterNodes {
  const { self, peers } = look;
  const led = new Map<StoreId, number[]>();
  for (const shard of shards) {
    const leader = shard.leads ? shard.consensus.raft.id : shard.consensus.leaderId;
    led.set(leader, [...(led.get(leader) ?? []), shard.id]);
  }
  const own = shards[0]?.consensus.raft.id;
  const nodes: ClusterNode[] = [
    {
      ...{ id: self.id, address: self.raftAddr, http: self.httpUrl, grpc: self.grpcAddr },
      ...{ reachable: true, lastContactMs: 0, version: self.version },
      ...ledBy(own === undefined ? [] : (led.get(own) ?? [])),
    },
  ];
  const known = new Map(
    shards.flatMap(({ consensus }) => consensus.members.map((member) => [member.storeId, member])),
  );
  for (const peer of peers) if (!known.has(peer.storeId)) known.set(peer.storeId, peer);
  for (const [storeId, { nodeId: id, raft: address, http, grpc }] of known) {
    if (storeId === own || id === self.id) continue;
    const peer = peers.find((one) => one.storeId === storeId);
    nodes.push({
      ...{ id, address, http, grpc },
      reachable: peer?.connected ?? false,
      lastContactMs: contactOf(look, storeId),
      version: peer?.version ?? "",
      ...ledBy(led.get(storeId) ?? []),
    });
  }
  nodes.sort((a, b) => (a.id < b.id ? -1 : 1));
  return { nodes, leader: nodes.find(({ shardsLed }) => shardsLed.includes(0))?.id ?? "" };
}

function ledBy(shardsLed: readonly number[]): Pick<ClusterNode, "isLeader" | "shardsLed"> {
  return { isLeader: shardsLed.length > 0, shardsLed };
}

/** Where a shard of the hash-routed mode lies: for good, on this node alone. */
export interface ShardPlace extends NodeAddress {
  readonly shard: number;
}

/** A shard of another node: who has it is all that is known of it. */
export function groupElsewhere({ shard, nodeId, http }: ShardPlace, look: Look): RaftGroup {
  const peer = look.peers.find((one) => one.nodeId === nodeId);
  return {
    ...{ shard, isLeader: false, selfId: look.self.id },
    leaderId: peer?.connected ? nodeId : "",
    leaderHttp: peer?.connected ? peer.http || http : "",
    ...{ term: 0, commitIndex: 0, appliedIndex: 0, lastIndex: 0 },
    ...{ voters: [nodeId], learners: [], followers: [] },
  };
}

export function nodesOfPlaces(places: readonly ShardPlace[], look: Look): ClusterNodes {
  const { self, peers } = look;
  const nodes = places.map(({ shard, nodeId: id, raft, http, grpc }): ClusterNode => {
    const isSelf = id === self.id;
    const peer = isSelf ? undefined : peers.find((one) => one.nodeId === id);
    return {
      ...{ id, address: raft },
      http: isSelf ? self.httpUrl : peer?.http || http,
      grpc: isSelf ? self.grpcAddr : peer?.grpc || grpc,
      reachable: isSelf || peer?.connected === true,
      lastContactMs: peer ? contactOf(look, peer.storeId) : 0,
      version: isSelf ? self.version : (peer?.version ?? ""),
      ...ledBy([shard]),
    };
  });
  return { nodes, leader: places[0]?.nodeId ?? "" };
}
