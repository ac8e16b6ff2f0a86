/**
 * The hash-routed mode's layout, the same on every node: shard k lies on the k-th node in byte order
 * of the ids, for good. It is recorded in the data directory (storage/header-file.ts).
 */
import { createHash } from "node:crypto";
import type { ShardPlace } from "../router/cluster-look.ts";
import type { Config } from "./config-keys.ts";
import { type Address, formatAddress, type Peer } from "./config-kinds.ts";

export interface HashLayout {
  /** In byte order of their ids. */
  readonly nodes: readonly Peer[];
  /** The place of this node among them: the number of its shard. */
  readonly own: number;
}

/** null in other modes. */
export function hashLayout(config: Config): HashLayout | null {
  const { enabled, nodes: listed, selfId } = config.cluster;
  if (!enabled) return null;
  const nodes = [...listed].sort((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)));
  return { nodes, own: nodes.findIndex(({ id }) => id === selfId) };
}

/** This node's name, in whatever mode. */
export function nodeIdOf({ raft, cluster }: Config): string {
  return (cluster.enabled ? cluster.selfId : raft.selfId || cluster.selfId) || "node1";
}

/** How many shards the ids of tasks are spread over. */
export function shardCountOf(config: Config): number {
  return hashLayout(config)?.nodes.length ?? config.storage.numShards;
}

/** The listener for other nodes: in the hash-routed mode a node binds its own entry of the list. */
export function peerListener(config: Config): Address {
  const layout = hashLayout(config);
  return layout?.nodes[layout.own] ?? config.raft.bindAddr;
}

/** As it is recorded: `id=host:port` each. */
export function recordedNodes({ nodes }: HashLayout): readonly string[] {
  return nodes.map((node) => `${node.id}=${formatAddress(node)}`);
}

/** Nodes with another list are of another cluster: 32 hex digits. */
export function hashClusterId(layout: HashLayout): string {
  const text = ["quorumq/hash/1", ...recordedNodes(layout)].join("\n");
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

/** Where the shards lie, with what is configured of each node. */
export function shardPlaces({ nodes }: HashLayout, { peers }: Config): readonly ShardPlace[] {
  return nodes.map((node, shard) => {
    const grpc = peers.grpc.find(({ id }) => id === node.id);
    return {
      shard,
      nodeId: node.id,
      raft: formatAddress(node),
      http: peers.http.find(({ id }) => id === node.id)?.url ?? "",
      grpc: grpc ? formatAddress(grpc) : "",
    };
  });
}
