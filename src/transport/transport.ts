/**
 * The transport's port: frames between the nodes of a cluster. It knows peers, shards and channels,
 * not what the frames say. Two implementations, TCP and the simulator's, under one contract suite.
 *
 * A frame is lost or arrives whole, once, and behind the earlier ones of its channel; what was under
 * way when a connection broke is lost. Nobody is told of a loss: Raft sends again, and whoever asks a
 * question has a deadline.
 */
import type { StoreId } from "../base/brand.ts";

/**
 * control: heartbeats, votes, read rounds, transfers. append: log entries and their answers.
 * bulk: snapshots and forwarded requests. A connection each, so that nothing big delays a heartbeat.
 */
export type Channel = "control" | "append" | "bulk";

export const channels: readonly Channel[] = ["control", "append", "bulk"];

/** Group of frames that concern the node, not one shard. Shards are 0..255. */
export const nodeGroup = 0xffff_fffe;

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
   * A frame of a peer. `body` is the receiver's to keep. Must not throw.
   * @param group - a shard's number, or nodeGroup
   */
  frame(from: StoreId, channel: Channel, group: number, type: number, body: Buffer): void;
  /** A peer can be reached: its control channel stands in both directions. */
  connected(peer: NodeIdentity): void;
  /**
   * A peer that was connected no longer is.
   * @param reset - its process ended or the connection was cut, as against silence
   */
  disconnected(storeId: StoreId, reset: boolean): void;
  /** A node was refused, or refused this one. Called at most once a minute per address and reason. */
  refused(address: string, reason: string): void;
}

export interface Transport {
  /** Begins to listen and to dial. @throws if the address cannot be bound */
  start(listener: TransportListener): Promise<void>;
  /** The nodes to keep connections with, this one left out; replaces the list. Others' connections end. */
  setPeers(peers: readonly NodeAddress[]): void;
  /** What this node says of itself from now on; connections go on. */
  setClusterId(clusterId: string): void;
  /**
   * Sends a frame whose body is the parts one after the other; they must not change afterwards.
   * @param type - 0..255, the layer above's
   * @returns false if it is certain that the frame was not sent: not connected, or no room
   * @throws InvariantError if the body is longer than limits.frameBytes
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
  /** Calls back once when no more than so many bytes wait, or the peer is no longer connected. */
  whenBelow(to: StoreId, channel: Channel, bytes: number, callback: () => void): void;
  /** Everyone in the list that was connected at least once. */
  peers(): readonly PeerState[];
  /** Ends all connections and the listener. */
  close(): Promise<void>;
}
