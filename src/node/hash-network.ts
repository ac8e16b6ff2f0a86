/**
 * What a node of the hash-routed mode has of the others: each has one shard alone, so who leads it
 * never changes, only whether it can be reached.
 */
import type { StoreId } from "../base/brand.ts";
import type { Logger } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import type { ShardPlace } from "../router/cluster-look.ts";
import { PeerCalls } from "../router/peer-calls.ts";
import type { ClusterView, RemoteLeader } from "../router/shard-routes.ts";
import type { OwnerReceiver } from "../router/work-exchange.ts";
import { workFrames } from "../router/work-frames.ts";
import { type NodeReceiver, PeerLink } from "../shard/peer-link.ts";
import { createTcpTransport } from "../transport/tcp-transport.ts";
import {
  type NodeIdentity,
  nodeGroup,
  type RefusalReason,
  type Transport,
} from "../transport/transport.ts";
import { type HashLayout, hashClusterId, peerListener, shardPlaces } from "./hash-layout.ts";
import type { NodeEffects } from "./lifecycle.ts";
import type { Network, NetworkOptions } from "./network.ts";

export function createHashNetwork(
  effects: NodeEffects,
  layout: HashLayout,
  { config, self, directory }: Omit<NetworkOptions, "stored">,
): Network {
  const { clock, timers, random, logger } = effects;
  const address = { nodeId: self.id, raft: self.raftAddr, http: self.httpUrl, grpc: self.grpcAddr };
  const { storeId } = directory.identity;
  const clusterId = hashClusterId(layout);
  const transport = createTcpTransport(
    { clock, timers, random, logger },
    {
      identity: { ...address, storeId, clusterId, version: self.version },
      listen: peerListener(config),
      secret: config.raft.secret,
    },
  );
  const calls = new PeerCalls({ transport, timers, random });
  const places = shardPlaces(layout, config);
  const owners = new Owners({ transport, calls, logger }, places, layout.own);
  const link = new PeerLink({ transport, timers });
  link.setNode(owners);
  const forward = config.routing === "forward";
  return {
    ...{ transport, places, view: owners.view(forward), link: null, members: null },
    requested: ({ refuse }) => refuse(new QueueError("invalid_argument", "no such request")),
    listener: (router) => router,
    onPeers: (listener) => owners.onPeers(listener),
    async start(open) {
      await open(null);
      await transport.start(link);
      transport.setPeers(places.filter(({ nodeId }) => nodeId !== self.id));
    },
    // Nobody else has what this node leads.
    handOver: () => Promise.resolve(),
    async stop() {
      calls.stop();
      await transport.close();
    },
  };
}

interface OwnersDeps {
  readonly transport: Transport;
  readonly calls: PeerCalls;
  readonly logger: Logger;
}

/** The nodes that can be reached, and what they say. */
class Owners implements NodeReceiver {
  private readonly deps: OwnersDeps;
  private readonly places: readonly ShardPlace[];
  private readonly own: number;
  /** Connected, by name. */
  private readonly connected = new Map<string, NodeIdentity>();
  private receiver: OwnerReceiver | null = null;
  private readonly listeners = new Set<() => void>();

  constructor(deps: OwnersDeps, places: readonly ShardPlace[], own: number) {
    this.deps = deps;
    this.places = places;
    this.own = own;
  }

  view(forward: boolean): ClusterView {
    const { calls, transport } = this.deps;
    return {
      ...{ calls, forward },
      leaderOf: (shard) => this.leaderOf(shard),
      owners: {
        send: (to, type, parts) => transport.send(to, "bulk", nodeGroup, type, parts),
        handle: (receiver) => {
          this.receiver = receiver;
        },
      },
    };
  }

  /** One that cannot be reached leads for nobody: clients are not sent to a node that is down. */
  private leaderOf(shard: number): RemoteLeader | null {
    const place = this.places[shard];
    const peer = place && shard !== this.own ? this.connected.get(place.nodeId) : undefined;
    if (!place || !peer) return null;
    const { storeId, nodeId: leaderId } = peer;
    const leaderHttp = place.http || peer.http;
    const leaderGrpc = place.grpc || peer.grpc;
    return { storeId, hint: { shard, term: 0, leaderId, leaderHttp, leaderGrpc } };
  }

  onPeers(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // What the transport tells

  frame(from: StoreId, type: number, body: Buffer): void {
    const isWork = type === workFrames.watch || type === workFrames.work;
    if (isWork) this.receiver?.frame(from, type, body);
    else this.deps.calls.frame(from, type, body);
  }

  peerFound(peer: NodeIdentity): void {
    this.connected.set(peer.nodeId, peer);
    this.deps.logger.info("connected", { node: peer.nodeId, address: peer.raft });
    const shard = this.places.findIndex(({ nodeId }) => nodeId === peer.nodeId);
    if (shard >= 0) this.receiver?.found(shard, peer.storeId);
    for (const listener of this.listeners) listener();
  }

  peerGone(storeId: StoreId): void {
    this.deps.calls.peerGone(storeId);
    this.receiver?.gone(storeId);
    for (const [nodeId, peer] of this.connected) {
      if (peer.storeId !== storeId) continue;
      this.connected.delete(nodeId);
      this.deps.logger.info("disconnected", { node: nodeId });
    }
    for (const listener of this.listeners) listener();
  }

  refused(address: string, reason: RefusalReason): void {
    this.deps.logger.warn("a connection between nodes was refused", { address, reason });
  }
}
