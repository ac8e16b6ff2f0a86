/**
 * What replicas of one shard send each other, as frames of the transport. A Raft message travels
 * behind a head: leader time u48 and the first index that the sender keeps, u64.
 *
 * The time lets a follower go on from the leader's clock when it comes to lead; the index lets
 * followers keep what others of the group may still need.
 */
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { decodeMessage, encodeMessage } from "../raft/message-codec.ts";
import type { NetworkMessage } from "../raft/types.ts";
import type { Channel } from "../transport/transport.ts";

/** Types of the frames of a shard's group. */
export const shardFrames = {
  raft: 1,
  snapshotOffer: 2,
  snapshotChunk: 3,
  /** The receiver's word on an offer: taken, refused, done. */
  snapshotAnswer: 4,
} as const;

/** Types of the frames of the node itself; 16 and up are the router's. */
export const nodeFrames = {
  /** Heartbeats of several groups: per group u32, sized head and message. */
  heartbeats: 1,
  /** "You belong to this cluster": its id, shard count u16, and its founders, if you are one. */
  found: 2,
  /** "Who are the members?", of a member that finds no leader. */
  membersAsked: 3,
  /** The answer: members of all shards, as the sender knows them, with itself. */
  members: 4,
} as const;

export interface ReplicaMessage {
  readonly message: NetworkMessage;
  /** Leader time of the sender, ms; of use where the sender leads. */
  readonly timeMs: number;
  readonly keptFrom: number;
}

const headBytes = 14;

export function encodeReplicaMessage({ message, timeMs, keptFrom }: ReplicaMessage): Buffer[] {
  const head = new ByteWriter(headBytes);
  head.u48(timeMs);
  head.u64(keptFrom);
  return [head.finish(), encodeMessage(message)];
}

/** @throws DecodeError */
export function decodeReplicaMessage(bytes: Buffer): ReplicaMessage {
  if (bytes.length < headBytes) throw new DecodeError("no head before the message");
  const input = new ByteReader(bytes);
  const timeMs = input.u48();
  const keptFrom = input.u64();
  return { timeMs, keptFrom, message: decodeMessage(bytes.subarray(headBytes)) };
}

/** Entries and their answers flow on a connection of their own, beside what must never wait. */
export function channelOf(message: NetworkMessage): Channel {
  return message.kind === "append" || message.kind === "appendResponse" ? "append" : "control";
}
