/**
 * One node of the list: three connections dialled to it for what is sent, and up to three that it
 * dialled. They are dialled one after the other, control first, so that a node meets at most one
 * unproven connection of each peer at a time.
 *
 * Connected means: all three dialled ones and its control connection are open. It ends with either
 * control connection, and then with all others too: a node that is gone leaves nothing behind.
 */

import type { StoreId } from "../base/brand.ts";
import type { Clock, Random, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { CloseCause, Connection, ConnectionEvents, Opened } from "./connection.ts";
import { Dialler } from "./dialler.ts";
import { frameHeadBytes } from "./frame.ts";
import { ownTypes } from "./handshake.ts";
import {
  type Channel,
  channels,
  type NodeAddress,
  type NodeIdentity,
  nodeGroup,
  type PeerState,
  waitingBytesMax,
} from "./transport.ts";

export interface PeerDeps {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  /** Dials the peer's address. */
  connect(peer: Peer, channel: Channel, events: ConnectionEvents): Connection;
  clusterId(): string;
  frame(peer: Peer, channel: Channel, group: number, type: number, body: Buffer): void;
  /** The peer says that its cluster is another one now. */
  clusterChanged(peer: Peer, body: Buffer): void;
  connected(peer: Peer, identity: NodeIdentity): void;
  disconnected(storeId: StoreId, reset: boolean): void;
  /** A dialled connection, or a try of one, failed. */
  failed(peer: Peer, cause: CloseCause): void;
}

interface EarlyFrame {
  readonly connection: Connection;
  readonly channel: Channel;
  readonly group: number;
  readonly type: number;
  readonly body: Buffer;
}

type Diallers = Readonly<Record<Channel, Dialler>>;

export class Peer {
  /** Where it is dialled. */
  address: NodeAddress;
  /** Who answers there; known from the first connection on. */
  identity: NodeIdentity | null = null;
  private readonly deps: PeerDeps;
  private readonly diallers: Diallers;
  private readonly inbound = new Map<Channel, Connection>();
  /** Frames that came before it was connected. */
  private readonly early: EarlyFrame[] = [];
  private earlyBytes = 0;
  private isConnected = false;
  private isEnding = false;
  private wasConnected = false;
  private lastContactMs = 0;

  constructor(deps: PeerDeps, address: NodeAddress) {
    this.deps = deps;
    this.address = address;
    this.diallers = {
      control: this.createDialler("control"),
      append: this.createDialler("append"),
      bulk: this.createDialler("bulk"),
    };
  }

  /** The store that is connected, in one direction at least; null if none is. */
  get boundStore(): StoreId | null {
    const isBound =
      this.inbound.size > 0 || channels.some((channel) => this.diallers[channel].open !== null);
    return isBound ? (this.identity?.storeId ?? null) : null;
  }

  start(): void {
    this.diallers.control.start();
  }

  /** It is dialled there from now on; connections that stand are with the right node. */
  moveTo(address: NodeAddress): void {
    const isElsewhere = address.raft !== this.address.raft;
    this.address = address;
    if (isElsewhere) this.diallers.control.hurry();
  }

  /** Ends all connections for good; it is told if the peer was connected. */
  stop(): void {
    this.lose(false);
    for (const channel of channels) this.diallers[channel].stop();
  }

  /** All connections are cut and dialled again. */
  cut(reset: boolean): void {
    this.lose(reset);
  }

  /** The connection to send on; null if it is not connected. */
  channel(channel: Channel): Connection | null {
    return this.isConnected ? this.diallers[channel].open : null;
  }

  /**
   * @param length - of all parts together
   * @returns false if it is not connected or has no room
   */
  send(
    channel: Channel,
    length: number,
    group: number,
    type: number,
    parts: readonly Uint8Array[],
  ): boolean {
    const connection = this.channel(channel);
    if (connection === null) return false;
    const waiting = connection.waitingBytes;
    if (waiting > 0 && waiting + length + frameHeadBytes > waitingBytesMax[channel]) return false;
    connection.send(group, type, parts);
    return true;
  }

  /** This node's cluster is another one now. */
  tellCluster(clusterId: string): void {
    this.diallers.control.open?.send(nodeGroup, ownTypes.cluster, [Buffer.from(clusterId)]);
  }

  state(): PeerState | null {
    const { identity, isConnected: connected } = this;
    if (identity === null || !this.wasConnected) return null;
    this.noteContact();
    return { ...identity, connected, lastContactMs: this.lastContactMs };
  }

  tick(quietMax: Readonly<Record<Channel, number>>): void {
    for (const channel of channels) {
      this.diallers[channel].open?.tick(quietMax[channel]);
      this.inbound.get(channel)?.tick(quietMax[channel]);
    }
  }

  /** The peer dialled this node and has proven who it is. */
  accepted(connection: Connection, { peer, channel }: Opened): void {
    const earlier = this.inbound.get(channel);
    if (earlier !== undefined) {
      // It knows before this node that the earlier one is gone.
      this.inbound.delete(channel);
      earlier.close();
      if (channel === "control" && this.isConnected) this.lose(true);
    }
    this.inbound.set(channel, connection);
    if (channel === "control" || this.identity?.storeId !== peer.storeId) this.identity = peer;
    if (channel === "control") {
      this.diallers.control.hurry();
      this.maybeConnected();
    }
  }

  /** A frame on a connection that the peer dialled. */
  frame(connection: Connection, channel: Channel, group: number, type: number, body: Buffer): void {
    const frame = { connection, channel, group, type, body };
    if (this.isConnected) {
      this.give(frame);
      return;
    }
    // The peer may send as soon as it is connected itself, which may be a little earlier.
    this.early.push(frame);
    this.earlyBytes += frameHeadBytes + body.length;
    if (this.earlyBytes > limits.earlyBytes) connection.pause();
  }

  private give({ channel, group, type, body }: EarlyFrame): void {
    if (group === nodeGroup && type === ownTypes.cluster) this.deps.clusterChanged(this, body);
    else this.deps.frame(this, channel, group, type, body);
  }

  /** A connection that the peer dialled has ended. */
  inboundClosed(connection: Connection, channel: Channel, reset: boolean): void {
    if (this.inbound.get(channel) !== connection || this.isEnding) return;
    this.inbound.delete(channel);
    if (channel === "control" && this.isConnected) this.lose(reset);
  }

  /**
   * Writes what waits on the channels and ends them; nothing is told any more. The long channels
   * go first: whoever sees the end of a control connection drops the others.
   */
  end(ended: readonly Channel[], done: () => void): void {
    this.isEnding = true;
    const connections = ended
      .map((channel) => this.diallers[channel].open)
      .filter((connection) => connection !== null);
    let left = connections.length;
    if (left === 0) {
      done();
      return;
    }
    for (const connection of connections) {
      connection.end(() => {
        left--;
        if (left === 0) done();
      });
    }
  }

  private createDialler(channel: Channel): Dialler {
    return new Dialler({
      timers: this.deps.timers,
      random: this.deps.random,
      nowMs: () => this.deps.clock.monotonicMs(),
      connect: (events) => this.deps.connect(this, channel, events),
      opened: (connection, opened) => this.dialled(connection, channel, opened),
      closed: (wasOpen, cause) => this.dialFailed(channel, wasOpen, cause),
    });
  }

  private dialled(connection: Connection, channel: Channel, opened: Opened): void {
    if (!this.inbound.has("control")) this.identity = opened.peer;
    if (channel === "control") {
      const clusterId = this.deps.clusterId();
      if (opened.clusterId !== clusterId) {
        connection.send(nodeGroup, ownTypes.cluster, [Buffer.from(clusterId)]);
      }
      this.diallers.append.start();
    } else if (channel === "append") {
      this.diallers.bulk.start();
    }
    this.maybeConnected();
  }

  private dialFailed(channel: Channel, wasOpen: boolean, cause: CloseCause): void {
    if (this.isEnding) return;
    if (channel === "control") {
      const reset = cause.kind === "refused" || cause.reset;
      if (this.isConnected) this.lose(reset);
      else this.stopLong();
    }
    if (!wasOpen || cause.kind === "refused") this.deps.failed(this, cause);
  }

  private maybeConnected(): void {
    const { identity } = this;
    if (this.isConnected || identity === null || !this.inbound.has("control")) return;
    if (channels.some((channel) => this.diallers[channel].open === null)) return;
    this.isConnected = true;
    this.wasConnected = true;
    this.deps.connected(this, identity);
    const early = this.takeEarly();
    for (const frame of early) {
      if (this.isConnected && this.inbound.get(frame.channel) === frame.connection) {
        this.give(frame);
      }
    }
    for (const connection of this.inbound.values()) connection.resume();
  }

  /** Everything with the peer ends; the control connection is dialled again. */
  private lose(reset: boolean): void {
    const { identity, isConnected } = this;
    this.noteContact();
    this.takeEarly();
    for (const connection of this.inbound.values()) connection.close();
    this.inbound.clear();
    this.stopLong();
    this.diallers.control.restart();
    this.isConnected = false;
    if (isConnected && identity !== null) this.deps.disconnected(identity.storeId, reset);
  }

  private stopLong(): void {
    this.diallers.append.stop();
    this.diallers.bulk.stop();
  }

  private takeEarly(): readonly EarlyFrame[] {
    this.earlyBytes = 0;
    return this.early.splice(0);
  }

  private noteContact(): void {
    for (const { heardMs } of this.inbound.values()) {
      this.lastContactMs = Math.max(this.lastContactMs, heardMs);
    }
  }
}
