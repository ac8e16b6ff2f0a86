/**
 * The transport's port: frames between the nodes of a cluster. It knows peers, shards and channels,
 * not what the frames say. Two implementations, TCP and the simulator's, under one contract suite.
 *
 * A frame is lost or arrives whole, once, and behind the earlier ones of its channel; what was under
 * way when a connection broke is lost. Nobody is told of a loss: Raft sends again, and whoever asks a
 * question has a deadline.
 */
import type { StoreId } from "../base/brand.ts";
import { limits } from "../base/limits.ts";

/**
 * control: heartbeats, votes, read rounds, transfers. append: log entries and their answers.
 * bulk: snapshots and forwarded requests. A connection each, so that nothing big delays a heartbeat.
 */
export type Channel = "control" | "append" | "bulk";

export const channels: readonly Channel[] = ["control", "append", "bulk"];

/** Group of frames that concern the node, not one shard. Shards are 0..255. */
export const nodeGroup = 0xffff_fffe;

/** Highest type of a frame of the layer above; those from 240 up are the transport's own. */
export const frameTypeMax = 239;

/** Bytes of a frame's body: beside it, the frame carries its type and its checksum. */
export const frameBodyBytesMax = limits.frameBytes - 5;

/** Bytes that wait for one peer on a channel, at the most; a lone frame may be longer. */
export const waitingBytesMax: Readonly<Record<Channel, number>> = {
  control: limits.controlWaitingBytes,
  append: limits.appendWaitingBytes,
  bulk: limits.bulkWaitingBytes,
};

/**
 * Why two nodes do not talk. magic, version: it is no node, or one of another protocol. secret: it
 * could not prove the shared one. cluster: it belongs to another one. unlisted: it is not among the
 * peers. self: it is this node, or calls itself so. node: another node than was dialled.
 * duplicate: another store under the id of a node that is connected. protocol: it sent what no
 * node sends.
 */
export type RefusalReason =
  | "magic"
  | "version"
  | "secret"
  | "cluster"
  | "unlisted"
  | "self"
  | "node"
  | "duplicate"
  | "protocol";

/** Where a node is found. */
export interface NodeAddress {
  /** Its name, a label. */
  readonly nodeId: string;
  /** host:port of its node-to-node listener. */
  readonly raft: string;
  /** Public URL of its HTTP listener; "" = unknown. */
  readonly http: string;
  /** Public host:port of its gRPC listener; "" = unknown. */
  readonly grpc: string;
}

/** What a node says of itself when it connects. */
export interface NodeIdentity extends NodeAddress {
  readonly storeId: StoreId;
  /** 32 hex digits; "" = its store is empty and belongs to no cluster yet. */
  readonly clusterId: string;
  /** Version of the program, a label. */
  readonly version: string;
}

/** A node that is connected with, or was. */
export interface PeerState extends NodeIdentity {
  readonly connected: boolean;
  /** Monotonic ms at which its last frame came; 0 = none came. */
  readonly lastContactMs: number;
}

export interface TransportListener {
  /**
   * A frame of a peer that is connected. `body` is the receiver's to keep. Must not throw.
   * @param group - a shard's number, or nodeGroup
   */
  frame(from: StoreId, channel: Channel, group: number, type: number, body: Buffer): void;
  /**
   * A peer can be reached: its control channel stands in both directions, and frames can be sent
   * on the others. Its frames come between this call and `disconnected`, never outside.
   */
  connected(peer: NodeIdentity): void;
  /**
   * A peer that was connected no longer is; what waited for it is dropped.
   * @param reset - its process ended or the connection was cut, as against silence, and as
   *   against a list of peers without it
   */
  disconnected(storeId: StoreId, reset: boolean): void;
  /** A node was refused, or refused this one. Called at most once a minute per address and reason. */
  refused(address: string, reason: RefusalReason): void;
}

export interface Transport {
  /** Begins to listen and to dial. @throws if the address cannot be bound */
  start(listener: TransportListener): Promise<void>;
  /**
   * The nodes to keep connections with, this one left out; replaces the list. Others' connections
   * end. A node whose address changed keeps its connections and is dialled there later.
   */
  setPeers(peers: readonly NodeAddress[]): void;
  /**
   * What this node says of itself from now on. Connections go on and the peers learn it, but for
   * those of another cluster.
   */
  setClusterId(clusterId: string): void;
  /**
   * Sends a frame whose body is the parts one after the other; they must not change afterwards.
   * @param type - 0..frameTypeMax, the layer above's
   * @returns false if it is certain that the frame was not sent: not connected, or no room
   * @throws InvariantError if the body is longer than frameBodyBytesMax
   */
  send(
    to: StoreId,
    channel: Channel,
    group: number,
    type: number,
    parts: readonly Uint8Array[],
  ): boolean;
  /** Bytes that wait to be sent to a peer on a channel; 0 if it is not connected. */
  waitingBytes(to: StoreId, channel: Channel): number;
  /**
   * Calls back once when no more than so many bytes wait, or the peer is no longer connected;
   * never from within this call.
   */
  whenBelow(to: StoreId, channel: Channel, bytes: number, callback: () => void): void;
  /** Cuts the connections with a peer that sent what no node sends; it may dial again. */
  reject(from: StoreId, text: string): void;
  /** Everyone in the list that was connected at least once. */
  peers(): readonly PeerState[];
  /** Sends what waits, if that can be done soon, then ends all connections. Tells the listener nothing. */
  close(): Promise<void>;
}
