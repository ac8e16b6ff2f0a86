/** What a node has of its cluster: transport, link, questions to others, and its part in it. */

import type { NodeDescription } from "../router/cluster-look.ts";
import { PeerCalls } from "../router/peer-calls.ts";
import { createRaftView } from "../router/raft-view.ts";
import type { ShardRouter } from "../router/shard-router.ts";
import type { ClusterView } from "../router/shard-routes.ts";
import type { LogStart } from "../shard/log-store.ts";
import { PeerLink } from "../shard/peer-link.ts";
import type { Shard, ShardListener } from "../shard/shard.ts";
import { type ClusterFile, readClusterFile, writeClusterFile } from "../storage/cluster-file.ts";
import type { Files } from "../storage/files.ts";
import type { DataDirectory } from "../storage/store-directory.ts";
import { createTcpTransport } from "../transport/tcp-transport.ts";
import type { NodeAddress, Transport } from "../transport/transport.ts";
import { Cluster } from "./cluster.ts";
import type { Config } from "./config.ts";
import type { NodeEffects } from "./lifecycle.ts";

export interface NetworkDeps {
  readonly effects: NodeEffects;
  readonly shards: readonly (Shard | null)[];
  readonly save: (file: ClusterFile) => void;
  readonly founded: (start: LogStart) => void;
  readonly fatal: (error: unknown) => void;
}

export interface NetworkOptions {
  readonly config: Config;
  readonly self: NodeDescription;
  readonly directory: DataDirectory;
  readonly stored: ClusterFile | null;
}

export interface Network {
  readonly transport: Transport;
  readonly link: PeerLink;
  readonly cluster: Cluster;
  readonly view: ClusterView;
  /** Listens and dials. @throws if the address cannot be bound */
  start(): Promise<void>;
  /** Lets the voter that is closest behind lead a shard. */
  handOver(shard: Shard): void;
  stop(): Promise<void>;
}

export function createNetwork(deps: NetworkDeps, options: NetworkOptions): Network {
  const { effects, shards } = deps;
  const { clock, timers, random, logger } = effects;
  const { config, self, directory, stored } = options;
  const { storeId } = directory.identity;
  const address = { nodeId: self.id, raft: self.raftAddr, http: self.httpUrl, grpc: self.grpcAddr };
  const clusterId = stored?.clusterId ?? "";
  const transport = createTcpTransport(
    { clock, timers, random, logger },
    {
      identity: { ...address, storeId, clusterId, version: self.version },
      listen: config.raft.bindAddr,
      secret: config.raft.secret,
    },
  );
  const link = new PeerLink({ transport, timers });
  const calls = new PeerCalls({ transport, timers });
  const peers = peersOf(config, self.id);
  const cluster = new Cluster(
    { ...deps, transport, link, calls, timers, random, logger },
    {
      self: { ...address, storeId },
      peers,
      bootstrap: config.raft.bootstrap || peers.length === 0,
      stored,
    },
  );
  const view = createRaftView({ calls, forward: config.routing === "forward", shards });
  return {
    ...{ transport, link, cluster, view },
    async start() {
      await transport.start(link);
      cluster.run();
    },
    handOver: (shard) => handOver(shard, cluster),
    async stop() {
      cluster.stop();
      calls.stop();
      await transport.close();
    },
  };
}

function handOver({ consensus }: Shard, cluster: Cluster): void {
  const { raft } = consensus;
  const able = raft
    .status()
    .progress.filter(
      ({ id, isLearner }) => id !== raft.id && !isLearner && cluster.isConnected(id),
    );
  able.sort((a, b) => b.match - a.match);
  const [next] = able;
  if (next) consensus.transferTo(next.id);
}

function peersOf(config: Config, selfId: string): NodeAddress[] {
  return config.raft.peers
    .filter(({ id }) => id !== selfId)
    .map((peer) => {
      const grpc = config.peers.grpc.find(({ id }) => id === peer.id);
      return {
        nodeId: peer.id,
        raft: addressOf(peer),
        http: config.peers.http.find(({ id }) => id === peer.id)?.url ?? "",
        grpc: grpc ? addressOf(grpc) : "",
      };
    });
}

/** host:port, an IPv6 address in brackets. */
export function addressOf(
  at: { readonly host: string; readonly port: number } | null | undefined,
): string {
  if (!at) return "";
  return at.host.includes(":") ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`;
}

/** What the data directory belongs to; one that was a node of its own founds a cluster of one. */
export function storedCluster(
  files: Files,
  { identity, isNew }: DataDirectory,
  root: string,
  self: NodeDescription,
): ClusterFile | null {
  const stored = readClusterFile(files, root);
  if (stored || isNew || identity.clusterId === "") return stored;
  const { id: nodeId, raftAddr: raft, httpUrl: http, grpcAddr: grpc } = self;
  const founder = { storeId: identity.storeId, nodeId, raft, http, grpc };
  const file = { clusterId: identity.clusterId, founders: [founder] };
  writeClusterFile(files, root, file);
  return file;
}

/** The router, and the network that must hear of new members at once. */
export function withMembers(router: ShardRouter, network: Network): ShardListener {
  return {
    ready: (shard, queues) => router.ready(shard, queues),
    leaseCanceled: (...notice) => router.leaseCanceled(...notice),
    ended: (runKeys) => router.ended(runKeys),
    leadership: (shard) => router.leadership(shard),
    members: () => network.cluster.membersChanged(),
  };
}
