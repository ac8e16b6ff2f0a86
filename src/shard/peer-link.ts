/**
 * The node's one place between its shards and the transport: every shard's Raft messages go out and
 * come in here. Heartbeats of all groups that leave in one turn of the event loop share a frame per
 * node; each keeps its own group, term and sender (FAULTS B65).
 */
import { assert } from "../base/assert.ts";
import type { StoreId } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import type { Timers } from "../base/effects.ts";
import type { NetworkMessage } from "../raft/types.ts";
import {
  type Channel,
  type NodeIdentity,
  nodeGroup,
  type RefusalReason,
  type Transport,
  type TransportListener,
} from "../transport/transport.ts";
import {
  channelOf,
  decodeReplicaMessage,
  encodeReplicaMessage,
  nodeFrames,
  type ReplicaMessage,
  shardFrames,
} from "./replica-frames.ts";

/** A shard's way to the other replicas of its group. */
export interface GroupLink {
  /** @returns false if it is certain that nothing was sent */
  send(message: NetworkMessage, timeMs: number, keptFrom: number): boolean;
  /** Sends a frame of the shard on the bulk channel. */
  sendBulk(to: StoreId, type: number, parts: readonly Uint8Array[]): boolean;
  /** Calls back when the bulk channel has room again, or the peer is gone. */
  whenBulkBelow(to: StoreId, bytes: number, callback: () => void): void;
}

/** What a shard hears from the others. */
export interface GroupReceiver {
  message(received: ReplicaMessage): void;
  bulk(from: StoreId, type: number, body: Buffer): void;
  /** @param reset - its process has ended, as against silence */
  peerGone(storeId: StoreId, reset: boolean): void;
}

/** What the node itself hears: frames of nodeGroup, and who comes and goes. */
export interface NodeReceiver {
  frame(from: StoreId, type: number, body: Buffer): void;
  peerFound(peer: NodeIdentity): void;
  peerGone(storeId: StoreId): void;
  refused(address: string, reason: RefusalReason): void;
}

export interface PeerLinkDeps {
  readonly transport: Transport;
  readonly timers: Timers;
}

interface Beat {
  readonly group: number;
  readonly parts: readonly Buffer[];
}

export class PeerLink implements TransportListener {
  readonly transport: Transport;
  private readonly deps: PeerLinkDeps;
  private readonly groups = new Map<number, GroupReceiver>();
  private node: NodeReceiver | null = null;
  private readonly beats = new Map<StoreId, Beat[]>();

  constructor(deps: PeerLinkDeps) {
    this.deps = deps;
    this.transport = deps.transport;
  }

  setNode(node: NodeReceiver): void {
    this.node = node;
  }

  attach(group: number, receiver: GroupReceiver): void {
    this.groups.set(group, receiver);
  }

  /** A shard is closed; what comes for it is dropped. */
  detach(group: number, receiver: GroupReceiver): void {
    if (this.groups.get(group) === receiver) this.groups.delete(group);
  }

  group(group: number): GroupLink {
    const { transport } = this;
    return {
      send: (message, timeMs, keptFrom) => {
        const parts = encodeReplicaMessage({ message, timeMs, keptFrom });
        if (message.kind === "heartbeat" || message.kind === "heartbeatResponse") {
          this.addBeat(message.to, { group, parts });
          return true;
        }
        return transport.send(message.to, channelOf(message), group, shardFrames.raft, parts);
      },
      sendBulk: (to, type, parts) => transport.send(to, "bulk", group, type, parts),
      whenBulkBelow: (to, bytes, callback) => transport.whenBelow(to, "bulk", bytes, callback),
    };
  }

  private addBeat(to: StoreId, beat: Beat): void {
    const beats = this.beats.get(to);
    if (beats) {
      beats.push(beat);
      return;
    }
    if (this.beats.size === 0) this.deps.timers.soon(() => this.sendBeats());
    this.beats.set(to, [beat]);
  }

  private sendBeats(): void {
    for (const [to, beats] of this.beats) {
      const out = new ByteWriter(64 * beats.length);
      for (const { group, parts } of beats) {
        out.u32(group);
        out.sized(Buffer.concat(parts));
      }
      this.transport.send(to, "control", nodeGroup, nodeFrames.heartbeats, [out.finish()]);
    }
    this.beats.clear();
  }

  // What the transport tells

  frame(from: StoreId, channel: Channel, group: number, type: number, body: Buffer): void {
    try {
      if (group === nodeGroup) this.nodeFrame(from, type, body);
      else if (type === shardFrames.raft) this.deliver(from, group, body);
      else if (channel === "bulk") this.groups.get(group)?.bulk(from, type, body);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.transport.reject(from, `group ${group}: ${error.message}`);
    }
  }

  private nodeFrame(from: StoreId, type: number, body: Buffer): void {
    if (type !== nodeFrames.heartbeats) {
      this.node?.frame(from, type, body);
      return;
    }
    const input = new ByteReader(body);
    while (input.left > 0) {
      const group = input.u32();
      this.deliver(from, group, input.sized());
    }
  }

  private deliver(from: StoreId, group: number, body: Buffer): void {
    const received = decodeReplicaMessage(body);
    if (received.message.from !== from) throw new DecodeError("a message in another's name");
    this.groups.get(group)?.message(received);
  }

  connected(peer: NodeIdentity): void {
    this.node?.peerFound(peer);
  }

  disconnected(storeId: StoreId, reset: boolean): void {
    assert(storeId > 0, "a peer's id", storeId);
    for (const receiver of [...this.groups.values()]) receiver.peerGone(storeId, reset);
    this.node?.peerGone(storeId);
  }

  refused(address: string, reason: RefusalReason): void {
    this.node?.refused(address, reason);
  }
}
