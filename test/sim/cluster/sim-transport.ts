/** The transport's port in virtual time: one process's end of all its connections. */
import { assert } from "../../../src/base/assert.ts";
import type { StoreId } from "../../../src/base/brand.ts";
import {
  type Channel,
  frameBodyBytesMax,
  frameTypeMax,
  type NodeAddress,
  type NodeIdentity,
  type PeerState,
  type RefusalReason,
  type Transport,
  type TransportListener,
  waitingBytesMax,
} from "../../../src/transport/transport.ts";
import type { ProcessTime } from "../clock.ts";
import type { Connection, Frame } from "./connection.ts";
import type { SimNet } from "./net.ts";

interface KnownPeer {
  identity: NodeIdentity;
  lastContactMs: number;
}

export class SimTransport implements Transport {
  readonly life: ProcessTime;
  identity: NodeIdentity;
  listener: TransportListener | null = null;
  closed = false;
  /** Its connections, by the other's store. */
  readonly connections = new Map<StoreId, Connection>();
  private readonly net: SimNet;
  private listed = new Map<string, NodeAddress>();
  /** By name: everyone in the list that was connected at least once. */
  private readonly known = new Map<string, KnownPeer>();
  private readonly refusals = new Set<string>();

  constructor(net: SimNet, identity: NodeIdentity, life: ProcessTime) {
    this.net = net;
    this.identity = identity;
    this.life = life;
  }

  get isRunning(): boolean {
    return this.listener !== null && !this.closed && this.life.alive;
  }

  async start(listener: TransportListener): Promise<void> {
    assert(this.listener === null && !this.closed, "a transport starts once");
    this.listener = listener;
    this.net.started(this);
  }

  setPeers(peers: readonly NodeAddress[]): void {
    this.listed = new Map(peers.map((peer) => [peer.nodeId, peer]));
    assert(!this.lists(this.identity.nodeId), "peers are other nodes", this.identity.nodeId);
    for (const name of this.known.keys()) if (!this.lists(name)) this.known.delete(name);
    for (const connection of [...this.connections.values()]) {
      const { nodeId } = connection.otherOf(this).identity;
      if (!this.lists(nodeId)) this.net.part(connection, this);
    }
    this.net.dial(this);
  }

  lists(nodeId: string): boolean {
    return this.listed.has(nodeId);
  }

  get listedNames(): Iterable<string> {
    return this.listed.keys();
  }

  setClusterId(clusterId: string): void {
    this.identity = { ...this.identity, clusterId };
    for (const connection of [...this.connections.values()]) {
      this.net.clusterChanged(connection, this, clusterId);
    }
  }

  /** A peer says that it belongs to a cluster. */
  peerChanged(connection: Connection, clusterId: string): void {
    const { identity } = connection.otherOf(this);
    if (this.connections.get(identity.storeId) !== connection) return;
    const peer = this.known.get(identity.nodeId);
    if (peer) peer.identity = { ...peer.identity, clusterId };
  }

  send(
    to: StoreId,
    channel: Channel,
    group: number,
    type: number,
    parts: readonly Uint8Array[],
  ): boolean {
    const body = Buffer.concat(parts);
    assert(body.length <= frameBodyBytesMax, "bytes of a frame's body", body.length);
    assert(type <= frameTypeMax, "type of a frame", type);
    const connection = this.told(to);
    if (!connection) return false;
    const waiting = connection.lane(this, channel).waitingBytes;
    if (waiting > 0 && waiting + body.length > waitingBytesMax[channel]) return false;
    this.net.onSent(this.identity.storeId, group, type, body);
    this.net.send(connection, this, { channel, group, type, body });
    return true;
  }

  private told(to: StoreId): Connection | undefined {
    const connection = this.connections.get(to);
    return this.isRunning && connection?.told[connection.sideOf(this)] ? connection : undefined;
  }

  waitingBytes(to: StoreId, channel: Channel): number {
    return this.told(to)?.lane(this, channel).waitingBytes ?? 0;
  }

  whenBelow(to: StoreId, channel: Channel, bytes: number, callback: () => void): void {
    const later = () => this.life.soon(callback);
    const lane = this.told(to)?.lane(this, channel);
    if (lane) lane.whenBelow(bytes, later);
    else later();
  }

  reject(from: StoreId, text: string): void {
    const connection = this.connections.get(from);
    if (!connection) return;
    this.net.onRejected(text);
    this.refuse(connection.otherOf(this), "protocol");
    this.net.reset(connection);
  }

  peers(): readonly PeerState[] {
    return [...this.known.values()].map(({ identity, lastContactMs }) => {
      const connection = this.told(identity.storeId);
      const pingMs = connection ? this.net.lastPingMs(connection, this) : 0;
      const connected = connection !== undefined;
      return { ...identity, connected, lastContactMs: Math.max(lastContactMs, pingMs) };
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.net.ended(this, "closed");
  }

  // What the network brings

  joined(connection: Connection): void {
    const { identity } = connection.otherOf(this);
    if (!this.isRunning || this.connections.get(identity.storeId) !== connection) return;
    connection.told[connection.sideOf(this)] = true;
    this.known.set(identity.nodeId, { identity, lastContactMs: this.life.monotonicMs() });
    this.listener?.connected(identity);
  }

  arrived(connection: Connection, { channel, group, type, body }: Frame): void {
    const { storeId, nodeId } = connection.otherOf(this).identity;
    if (this.told(storeId) !== connection) return;
    const peer = this.known.get(nodeId);
    if (peer) peer.lastContactMs = this.life.monotonicMs();
    this.listener?.frame(storeId, channel, group, type, body);
  }

  /** The connection is gone, as this end sees it. */
  lost(connection: Connection, reset: boolean): void {
    const { storeId } = connection.otherOf(this).identity;
    if (this.connections.get(storeId) !== connection) return;
    this.connections.delete(storeId);
    for (const lane of connection.lanesFrom(this)) lane.end();
    const wasTold = connection.told[connection.sideOf(this)];
    if (wasTold && this.isRunning) this.listener?.disconnected(storeId, reset);
  }

  /** Why another node is not to be connected with; null: it is welcome. */
  objection({ identity: other }: SimTransport): RefusalReason | null {
    const own = this.identity;
    if (other.storeId === own.storeId || other.nodeId === own.nodeId) return "self";
    const isForeign = own.clusterId !== "" && other.clusterId !== "";
    if (isForeign && own.clusterId !== other.clusterId) return "cluster";
    if (!this.lists(other.nodeId)) return "unlisted";
    for (const connection of this.connections.values()) {
      const { nodeId, storeId } = connection.otherOf(this).identity;
      if (nodeId === other.nodeId && storeId !== other.storeId) return "duplicate";
    }
    return null;
  }

  refuse(other: SimTransport, reason: RefusalReason): void {
    const address = this.listed.get(other.identity.nodeId)?.raft ?? other.identity.raft;
    if (this.refusals.has(`${address} ${reason}`)) return;
    this.refusals.add(`${address} ${reason}`);
    this.listener?.refused(address, reason);
  }
}
