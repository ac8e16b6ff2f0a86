/** What a node has of its cluster: transport, link, questions to others, and its part in it. */
import { limits } from "../base/limits.ts";
import type { NodeDescription, ShardPlace } from "../router/cluster-look.ts";
import type { MembersAdmin } from "../router/members.ts";
import { PeerCalls, type PeerRequest } from "../router/peer-calls.ts";
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
import { formatAddress } from "./config-kinds.ts";
import { type LeaderBalance, startLeaderBalance } from "./leader-balance.ts";
import type { NodeEffects } from "./lifecycle.ts";
import { MemberService } from "./member-service.ts";
import { type Rejoin, startRejoin } from "./rejoin.ts";
import { type Retreat, startRetreat } from "./retreat.ts";

const handOverPollMs = 5;

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
  readonly view: ClusterView;
  /** The replicas' way to each other; null where each shard has one replica. */
  readonly link: PeerLink | null;
  /** null where nobody can join or leave. */
  readonly members: MembersAdmin | null;
  /** Where the shards lie for good; null where replicas of all of them are everywhere. */
  readonly places: readonly ShardPlace[] | null;
  /** What other nodes ask that is not about tasks. */
  requested(request: PeerRequest): void;
  /** The router, and whoever else must hear of the shards. */
  listener(router: ShardRouter): ShardListener;
  /** Calls back when a node comes or goes. @returns a function that ends it */
  onPeers(listener: () => void): () => void;
  /**
   * Opens the replicas as soon as it is known where their logs begin (null: each for itself); listens
   * and dials.
   * @throws if the address cannot be bound
   */
  start(open: (start: LogStart | null) => Promise<void>): Promise<void>;
  /**
   * Lets others lead what this node leads: resolves when they do, as far as they can, within a time.
   * What comes back is handed over again, until `stop`.
   */
  handOver(): Promise<void>;
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
  const calls = new PeerCalls({ transport, timers, random });
  const peers = peersOf(config, self.id);
  const cluster = new Cluster(
    { ...deps, transport, link, calls, timers, random, logger },
    {
      self: { ...address, storeId },
      peers,
      bootstrap: config.raft.bootstrap || peers.length === 0,
      rejoin: config.rejoin,
      stored,
    },
  );
  const view = createRaftView({ calls, forward: config.routing === "forward", shards });
  const members = new MemberService({ cluster, view, shards, clock, timers });
  let balance: LeaderBalance | null = null;
  let rejoin: Rejoin | null = null;
  let retreat: Retreat | null = null;
  return {
    ...{ transport, link, view, members, places: null },
    requested: (request) => members.requested(request),
    listener: (router) => withMembers(router, cluster),
    onPeers: (listener) => cluster.onPeers(listener),
    async start(open) {
      if (cluster.start) await open(cluster.start);
      await transport.start(link);
      cluster.run();
      if (config.rejoin) rejoin = startRejoin({ cluster, calls, timers, logger });
      balance = startLeaderBalance({ cluster, shards, clock, timers, logger });
    },
    async handOver() {
      balance?.stop();
      retreat ??= startRetreat({ shards, cluster, timers });
      const until = clock.monotonicMs() + limits.handOverMs;
      while (retreat.isUnderWay && clock.monotonicMs() < until) {
        await new Promise<void>((resolve) => timers.after(handOverPollMs, resolve));
      }
    },
    async stop() {
      retreat?.stop();
      rejoin?.stop();
      cluster.stop();
      calls.stop();
      await transport.close();
    },
  };
}

function peersOf(config: Config, selfId: string): NodeAddress[] {
  return config.raft.peers
    .filter(({ id }) => id !== selfId)
    .map((peer) => {
      const grpc = config.peers.grpc.find(({ id }) => id === peer.id);
      return {
        nodeId: peer.id,
        raft: formatAddress(peer),
        http: config.peers.http.find(({ id }) => id === peer.id)?.url ?? "",
        grpc: grpc ? formatAddress(grpc) : "",
      };
    });
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

/** The router, and the node's part in the cluster, that must hear of new members at once. */
function withMembers(router: ShardRouter, cluster: Cluster): ShardListener {
  return {
    ready: (shard, queues) => router.ready(shard, queues),
    leaseCanceled: (...notice) => router.leaseCanceled(...notice),
    ended: (runKeys) => router.ended(runKeys),
    leadership: (shard) => router.leadership(shard),
    members: () => cluster.membersChanged(),
  };
}
