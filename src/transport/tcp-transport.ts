/**
 * The transport over TCP. Per pair of nodes and direction three connections: I dial you for what
 * I send, you dial me for what you send. This file knows who may connect; a peer's connections are
 * in peer.ts, one connection in connection.ts, its first words in handshake.ts.
 */
import { assert, present } from "../base/assert.ts";
import type { StoreId } from "../base/brand.ts";
import type { Clock, Logger, Random, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { type CloseCause, Connection, type ConnectionEvents } from "./connection.ts";
import {
  createAcceptHandshake,
  createDialHandshake,
  describeReason,
  type HandshakeDeps,
  isClusterId,
  nonceBytes,
} from "./handshake.ts";
import { Peer, type PeerDeps } from "./peer.ts";
import { Refusals } from "./refusals.ts";
import {
  dialSocket,
  type HostPort,
  listenSockets,
  type Socket,
  type SocketEvents,
  type SocketListener,
} from "./sockets.ts";
import { Strangers } from "./strangers.ts";
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
} from "./transport.ts";

export interface TcpTransportDeps {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
}

export interface TcpTransportOptions {
  readonly identity: NodeIdentity;
  /** Where to listen; port 0 takes a free one. */
  readonly listen: HostPort;
  /** What all nodes of the cluster know; "" only where nobody else can connect. */
  readonly secret: string;
  /** Ms of silence on a control connection after which it counts as lost. */
  readonly silenceMs?: number;
  /** The same for the other two, on which answers wait behind what is long. */
  readonly stallMs?: number;
}

export function createTcpTransport(
  deps: TcpTransportDeps,
  options: TcpTransportOptions,
): Transport {
  return new TcpTransport(deps, options);
}

/** Pings in the time of silence: so many are lost before the peer is. */
const ticksOfSilence = 4;

class TcpTransport implements Transport {
  private readonly deps: TcpTransportDeps;
  private readonly options: TcpTransportOptions;
  private readonly tickMs: number;
  private readonly quietMax: Readonly<Record<Channel, number>>;
  private readonly handshakes: HandshakeDeps;
  private readonly peerDeps: PeerDeps;
  private readonly strangers = new Strangers();
  private readonly refusals = new Refusals();
  private readonly byNode = new Map<string, Peer>();
  /** The connected ones. */
  private readonly byStore = new Map<StoreId, Peer>();
  private identity: NodeIdentity;
  private listener: TransportListener | null = null;
  private sockets: SocketListener | null = null;
  private isClosed = false;

  constructor(deps: TcpTransportDeps, options: TcpTransportOptions) {
    const silenceMs = options.silenceMs ?? limits.peerSilenceMs;
    assert(options.identity.storeId > 0, "a node has a store", options.identity.storeId);
    assert(isClusterId(options.identity.clusterId), "cluster id", options.identity.clusterId);
    this.deps = deps;
    this.options = options;
    this.identity = options.identity;
    this.tickMs = silenceMs / ticksOfSilence;
    const stallMs = options.stallMs ?? limits.peerStallMs;
    const stallTicks = Math.ceil(Math.max(stallMs, silenceMs) / this.tickMs);
    this.quietMax = { control: ticksOfSilence, append: stallTicks, bulk: stallTicks };
    this.handshakes = {
      nonce: () => {
        const nonce = Buffer.alloc(nonceBytes);
        deps.random.fill(nonce);
        return nonce;
      },
      identity: () => this.identity,
      secret: options.secret,
      objection: (peer, isMeant) => this.objection(peer, isMeant),
    };
    this.peerDeps = this.createPeerDeps();
  }

  async start(listener: TransportListener): Promise<void> {
    assert(this.listener === null && !this.isClosed, "a transport starts once");
    this.listener = listener;
    this.sockets = await listenSockets(this.options.listen, (socket) => this.accept(socket));
    if (this.isClosed) return this.sockets.close();
    for (const peer of this.byNode.values()) peer.start();
    this.tick();
  }

  setPeers(addresses: readonly NodeAddress[]): void {
    if (this.isClosed) return;
    const listed = new Map(addresses.map((address) => [address.nodeId, address]));
    assert(!listed.has(this.identity.nodeId), "peers are other nodes", this.identity.nodeId);
    for (const [nodeId, peer] of this.byNode) {
      const address = listed.get(nodeId);
      if (address === undefined) this.remove(peer);
      else peer.moveTo(address);
    }
    for (const [nodeId, address] of listed) {
      if (this.byNode.has(nodeId)) continue;
      const peer = new Peer(this.peerDeps, address);
      this.byNode.set(nodeId, peer);
      if (this.sockets !== null) peer.start();
    }
  }

  setClusterId(clusterId: string): void {
    assert(isClusterId(clusterId), "cluster id", clusterId);
    this.identity = { ...this.identity, clusterId };
    for (const peer of this.byNode.values()) {
      peer.tellCluster(clusterId);
      this.partIfForeign(peer);
    }
  }

  send(
    to: StoreId,
    channel: Channel,
    group: number,
    type: number,
    parts: readonly Uint8Array[],
  ): boolean {
    let length = 0;
    for (const part of parts) length += part.length;
    assert(length <= frameBodyBytesMax, "bytes of a frame's body", length);
    assert(type <= frameTypeMax, "type of a frame", type);
    const peer = this.byStore.get(to);
    return peer?.send(channel, length, group, type, parts) ?? false;
  }

  waitingBytes(to: StoreId, channel: Channel): number {
    return this.byStore.get(to)?.channel(channel)?.waitingBytes ?? 0;
  }

  whenBelow(to: StoreId, channel: Channel, bytes: number, callback: () => void): void {
    const connection = this.byStore.get(to)?.channel(channel) ?? null;
    if (connection === null) this.deps.timers.soon(callback);
    else connection.whenBelow(bytes, callback);
  }

  reject(from: StoreId, text: string): void {
    const peer = this.byStore.get(from);
    if (peer === undefined) return;
    this.refused(peer.address.raft, "protocol", text);
    peer.cut(true);
  }

  peers(): readonly PeerState[] {
    return [...this.byNode.values()].map((peer) => peer.state()).filter((state) => state !== null);
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    const peers = [...this.byNode.values()];
    this.byStore.clear();
    this.strangers.closeAll();
    const listening = this.sockets?.close();
    await this.drain(peers);
    this.byNode.clear();
    for (const peer of peers) peer.stop();
    await listening;
  }

  /** What waits is sent, but not waited for much longer than a moment. */
  private drain(peers: readonly Peer[]): Promise<void> {
    return new Promise((resolve) => {
      const deadline = this.deps.timers.after(limits.peerCloseMs, resolve);
      let left = peers.length;
      const oneEnded = () => {
        left--;
        if (left > 0) return;
        deadline.cancel();
        resolve();
      };
      left++;
      for (const peer of peers) {
        peer.end(["append", "bulk"], () => peer.end(["control"], oneEnded));
      }
      oneEnded();
    });
  }

  private tick(): void {
    if (this.isClosed) return;
    for (const peer of [...this.byNode.values()]) peer.tick(this.quietMax);
    this.deps.timers.after(this.tickMs, () => this.tick());
  }

  private remove(peer: Peer): void {
    this.byNode.delete(peer.address.nodeId);
    peer.stop();
  }

  private createPeerDeps(): PeerDeps {
    const { clock, timers, random } = this.deps;
    return {
      clock,
      timers,
      random,
      clusterId: () => this.identity.clusterId,
      connect: (peer, channel, events) => {
        const handshake = createDialHandshake(this.handshakes, channel, peer.address.nodeId);
        const to = parseHostPort(peer.address.raft);
        const dial = (socketEvents: SocketEvents) => dialSocket(to, socketEvents);
        return new Connection(this.deps, handshake, events, { dial });
      },
      frame: (peer, channel, group, type, body) => {
        if (this.isClosed || peer.identity === null) return;
        this.listener?.frame(peer.identity.storeId, channel, group, type, body);
      },
      clusterChanged: (peer, body) => this.clusterChanged(peer, body.toString("latin1")),
      connected: (peer, identity) => {
        this.byStore.set(identity.storeId, peer);
        this.listener?.connected(identity);
      },
      disconnected: (storeId, reset) => {
        this.byStore.delete(storeId);
        if (!this.isClosed) this.listener?.disconnected(storeId, reset);
      },
      failed: (peer, cause) => this.failed(peer.address.raft, cause),
    };
  }

  private accept(socket: Socket): SocketEvents {
    let owner: { readonly peer: Peer; readonly channel: Channel } | null = null;
    const handshake = createAcceptHandshake(this.handshakes);
    const events: ConnectionEvents = {
      opened: (connection, opened) => {
        this.strangers.remove(connection);
        const peer = present(this.byNode.get(opened.peer.nodeId), "a peer that was admitted");
        owner = { peer, channel: opened.channel };
        peer.accepted(connection, opened);
      },
      frame: (connection, group, type, body) => {
        owner?.peer.frame(connection, owner.channel, group, type, body);
      },
      closed: (connection, cause) => {
        this.strangers.remove(connection);
        this.failed(connection.remote, cause);
        const reset = cause.kind === "refused" || cause.reset;
        owner?.peer.inboundClosed(connection, owner.channel, reset);
      },
    };
    const connection = new Connection(this.deps, handshake, events, { accepted: socket });
    if (this.isClosed) connection.close();
    else this.strangers.add(connection);
    return connection;
  }

  /** Why a node that knows the secret is not to be connected; null: it is welcome. */
  private objection(other: NodeIdentity, isMeant: boolean): RefusalReason | null {
    const { storeId, nodeId } = this.identity;
    if (other.storeId === storeId || other.nodeId === nodeId) return "self";
    if (!isMeant) return "node";
    if (this.isForeign(other)) return "cluster";
    const peer = this.byNode.get(other.nodeId);
    if (peer === undefined) return "unlisted";
    const { boundStore } = peer;
    return boundStore !== null && boundStore !== other.storeId ? "duplicate" : null;
  }

  /** An empty store belongs to no cluster yet, and may speak with every one. */
  private isForeign({ clusterId }: NodeIdentity): boolean {
    const own = this.identity.clusterId;
    return own !== "" && clusterId !== "" && clusterId !== own;
  }

  private clusterChanged(peer: Peer, clusterId: string): void {
    if (peer.identity === null) return;
    if (isClusterId(clusterId)) {
      peer.identity = { ...peer.identity, clusterId };
      this.partIfForeign(peer);
    } else {
      this.reject(peer.identity.storeId, "no cluster id");
    }
  }

  private partIfForeign(peer: Peer): void {
    if (peer.identity === null || peer.boundStore === null || !this.isForeign(peer.identity))
      return;
    this.refused(peer.address.raft, "cluster", "since one of the two changed");
    peer.cut(true);
  }

  private failed(address: string, cause: CloseCause): void {
    if (cause.kind === "refused") this.refused(address, cause.reason, cause.text);
    else this.deps.logger.debug("connection of a node closed", { address, why: cause.text });
  }

  private refused(address: string, reason: RefusalReason, text: string): void {
    if (this.isClosed || !this.refusals.note(address, reason, this.deps.clock.monotonicMs()))
      return;
    const why = describeReason(reason);
    this.deps.logger.warn("node refused", { address, reason, why, text });
    this.listener?.refused(address, reason);
  }
}

/** Of a malformed address comes port 0, where nobody answers. */
function parseHostPort(text: string): HostPort {
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, Math.max(colon, 0)).replace(/^\[(.*)\]$/, "$1");
  const port = Number(text.slice(colon + 1));
  const isPort = Number.isInteger(port) && port > 0 && port <= 65_535;
  return { host, port: isPort && host !== "" ? port : 0 };
}
