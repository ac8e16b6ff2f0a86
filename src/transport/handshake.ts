/**
 * How two nodes get to know each other on a new connection, within a second:
 *
 *   dialler → hello         magic, protocol version, channel, a nonce
 *   acceptor → challenge    a nonce
 *   dialler → introduction  who it is, which node it means, a proof of the shared secret
 *   acceptor → welcome      who it is, a proof of its own; from here on frames flow
 *
 * or a refusal with its reason. A proof is an HMAC-SHA256 over everything said before it, both
 * nonces included, under a label of its sender's part: it is worth nothing on another connection
 * or in the other direction. A stranger learns nothing of the cluster. The proofs say nothing of
 * the frames that follow; that is left to TLS.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { assert, unreachable } from "../base/assert.ts";
import { toStoreId } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { type Channel, channels, type NodeIdentity, type RefusalReason } from "./transport.ts";

/** Types of the transport's own frames, all of nodeGroup. */
export const ownTypes = {
  hello: 240,
  challenge: 241,
  introduction: 242,
  welcome: 243,
  refusal: 244,
  ping: 245,
  pong: 246,
  /** The sender's cluster id is another one now. */
  cluster: 247,
} as const;

export const protocolVersion = 1;

/** Eight bytes that no other protocol begins with. */
export const magic = Buffer.from("QuorumQ\n", "latin1");

export const nonceBytes = 32;
const proofBytes = 32;

/** The place is the number on the wire: append only. */
const reasons: readonly RefusalReason[] = [
  "magic",
  "version",
  "secret",
  "cluster",
  "unlisted",
  "self",
  "node",
  "duplicate",
  "protocol",
];

export interface HandshakeDeps {
  /** Random bytes that were never used before. */
  nonce(): Buffer;
  /** Who this node is now. */
  identity(): NodeIdentity;
  readonly secret: string;
  /**
   * What this node has against one that has proven the secret.
   * @param isMeant - the dialler means the node that it has reached
   */
  objection(peer: NodeIdentity, isMeant: boolean): RefusalReason | null;
}

export interface OwnMessage {
  readonly type: number;
  readonly body: Buffer;
}

export type HandshakeStep =
  | { readonly kind: "reply"; readonly message: OwnMessage }
  | {
      readonly kind: "done";
      readonly peer: NodeIdentity;
      readonly channel: Channel;
      /** What this side said of its cluster. */
      readonly clusterId: string;
      readonly message: OwnMessage | null;
    }
  /** Refused by this side; `message` tells the other one. */
  | { readonly kind: "refuse"; readonly reason: RefusalReason; readonly message: OwnMessage | null }
  /** Refused by the other side. */
  | { readonly kind: "refused"; readonly reason: RefusalReason };

export interface Handshake {
  /** What is sent before anything has come. */
  readonly opening: OwnMessage | null;
  /** A message of the other side. Throws nothing, whatever it says. */
  receive(type: number, body: Buffer): HandshakeStep;
}

/** @param wanted - id of the node that is dialled */
export function createDialHandshake(
  deps: HandshakeDeps,
  channel: Channel,
  wanted: string,
): Handshake {
  const said: Buffer[] = [encodeHello(channel, deps.nonce())];
  let clusterId = "";
  return {
    opening: { type: ownTypes.hello, body: said[0] as Buffer },
    receive(type, body) {
      if (type === ownTypes.refusal) return readRefusal(body);
      if (said.length === 1 && type === ownTypes.challenge && body.length === nonceBytes) {
        said.push(body);
        const identity = deps.identity();
        clusterId = identity.clusterId;
        const introduction = encodeIntroduction(identity, wanted);
        said.push(prove(deps.secret, "dialler", said, introduction));
        return reply(ownTypes.introduction, said[2] as Buffer);
      }
      if (said.length === 3 && type === ownTypes.welcome) {
        const proven = verify(deps.secret, "acceptor", said, body);
        if (proven === null) return refuse("secret", false);
        const peer = orNull(() => decodeWelcome(proven));
        if (peer === null) return refuse("protocol", false);
        const reason = deps.objection(peer, peer.nodeId === wanted);
        if (reason !== null) return refuse(reason, false);
        return { kind: "done", peer, channel, clusterId, message: null };
      }
      return refuse("protocol", false);
    },
  };
}

export function createAcceptHandshake(deps: HandshakeDeps): Handshake {
  const said: Buffer[] = [];
  let channel: Channel = "control";

  function greet(body: Buffer): HandshakeStep {
    const hello = orNull(() => decodeHello(body));
    if (hello === null || !hello.isMagic) return refuse("magic", false);
    if (hello.version !== protocolVersion) return refuse("version", true);
    if (hello.channel === undefined) return refuse("protocol", true);
    channel = hello.channel;
    said.push(body, deps.nonce());
    return reply(ownTypes.challenge, said[1] as Buffer);
  }

  function admit(body: Buffer): HandshakeStep {
    const proven = verify(deps.secret, "dialler", said, body);
    if (proven === null) return refuse("secret", true);
    const introduction = orNull(() => decodeIntroduction(proven));
    if (introduction === null) return refuse("protocol", true);
    const { peer, wanted } = introduction;
    const identity = deps.identity();
    const reason = deps.objection(peer, wanted === identity.nodeId);
    if (reason !== null) return refuse(reason, true);
    said.push(body);
    const welcome = prove(deps.secret, "acceptor", said, encodeWelcome(identity));
    const message = { type: ownTypes.welcome, body: welcome };
    return { kind: "done", peer, channel, clusterId: identity.clusterId, message };
  }

  return {
    opening: null,
    receive(type, body) {
      if (said.length === 0) return type === ownTypes.hello ? greet(body) : refuse("magic", false);
      if (said.length === 2 && type === ownTypes.introduction) return admit(body);
      return refuse("protocol", true);
    },
  };
}

function reply(type: number, body: Buffer): HandshakeStep {
  return { kind: "reply", message: { type, body } };
}

function refuse(reason: RefusalReason, isTold: boolean): HandshakeStep {
  return { kind: "refuse", reason, message: isTold ? refusalMessage(reason) : null };
}

export function refusalMessage(reason: RefusalReason): OwnMessage {
  return { type: ownTypes.refusal, body: Buffer.of(reasons.indexOf(reason)) };
}

function readRefusal(body: Buffer): HandshakeStep {
  const reason = body.length === 1 ? reasons[body[0] as number] : undefined;
  return reason === undefined ? refuse("protocol", false) : { kind: "refused", reason };
}

type Part = "dialler" | "acceptor";

/** The message with its proof behind it. */
function prove(secret: string, part: Part, said: readonly Buffer[], message: Buffer): Buffer {
  assert(message.length + proofBytes <= limits.handshakeBytes, "an introduction", message.length);
  return Buffer.concat([message, proofOf(secret, part, said, message)]);
}

/** @returns the message without its proof; null if that is wrong */
function verify(secret: string, part: Part, said: readonly Buffer[], bytes: Buffer): Buffer | null {
  if (bytes.length < proofBytes) return null;
  const message = bytes.subarray(0, bytes.length - proofBytes);
  const proof = bytes.subarray(bytes.length - proofBytes);
  return timingSafeEqual(proof, proofOf(secret, part, said, message)) ? message : null;
}

/** Each part of the talk goes in with its length, so that no two talks give the same bytes. */
function proofOf(secret: string, part: Part, said: readonly Buffer[], message: Buffer): Buffer {
  const hmac = createHmac("sha256", secret).update(`quorumq ${part}\n`);
  const length = Buffer.alloc(4);
  for (const bytes of [...said, message]) {
    length.writeUInt32BE(bytes.length);
    hmac.update(length).update(bytes);
  }
  return hmac.digest();
}

function encodeHello(channel: Channel, nonce: Buffer): Buffer {
  const writer = new ByteWriter(64);
  writer.bytes(magic);
  writer.u16(protocolVersion);
  writer.u8(channels.indexOf(channel));
  writer.bytes(nonce);
  return writer.finish();
}

interface Hello {
  readonly isMagic: boolean;
  readonly version: number;
  readonly channel: Channel | undefined;
}

/** Of another version no more is read than its number. */
function decodeHello(bytes: Buffer): Hello {
  const reader = new ByteReader(bytes);
  const isMagic = reader.bytes(magic.length).equals(magic);
  const version = reader.u16();
  if (version !== protocolVersion) return { isMagic, version, channel: undefined };
  const channel = channels[reader.u8()];
  if (reader.left !== nonceBytes) throw new DecodeError(`a nonce of ${reader.left} bytes`);
  return { isMagic, version, channel };
}

function encodeIntroduction(identity: NodeIdentity, wanted: string): Buffer {
  const writer = new ByteWriter(512);
  writeIdentity(writer, identity);
  writer.utf8(wanted);
  return writer.finish();
}

function decodeIntroduction(bytes: Buffer): { peer: NodeIdentity; wanted: string } {
  const reader = new ByteReader(bytes);
  const peer = readIdentity(reader);
  const wanted = reader.utf8();
  if (reader.left > 0) throw new DecodeError(`${reader.left} bytes behind the introduction`);
  return { peer, wanted };
}

function encodeWelcome(identity: NodeIdentity): Buffer {
  const writer = new ByteWriter(512);
  writeIdentity(writer, identity);
  return writer.finish();
}

function decodeWelcome(bytes: Buffer): NodeIdentity {
  const reader = new ByteReader(bytes);
  const peer = readIdentity(reader);
  if (reader.left > 0) throw new DecodeError(`${reader.left} bytes behind the welcome`);
  return peer;
}

function writeIdentity(writer: ByteWriter, identity: NodeIdentity): void {
  writer.u64(identity.storeId);
  const { clusterId, nodeId, version, raft, http, grpc } = identity;
  for (const text of [clusterId, nodeId, version, raft, http, grpc]) writer.utf8(text);
}

function readIdentity(reader: ByteReader): NodeIdentity {
  const storeId = toStoreId(reader.u64());
  if (storeId === 0) throw new DecodeError("no store id");
  const clusterId = reader.utf8();
  if (!isClusterId(clusterId)) throw new DecodeError("no cluster id");
  const nodeId = reader.utf8();
  if (nodeId === "") throw new DecodeError("no node id");
  const version = reader.utf8();
  const raft = reader.utf8();
  const http = reader.utf8();
  return { storeId, clusterId, nodeId, version, raft, http, grpc: reader.utf8() };
}

/** 32 hex digits, or "" of an empty store. */
export function isClusterId(text: string): boolean {
  return text === "" || /^[0-9a-f]{32}$/.test(text);
}

/** Bytes from outside may have any form; bugs still stop the node. */
function orNull<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/** For logs. */
export function describeReason(reason: RefusalReason): string {
  switch (reason) {
    case "magic":
      return "it is no node of a cluster";
    case "version":
      return "it speaks another version of the protocol";
    case "secret":
      return "the shared secrets differ";
    case "cluster":
      return "it belongs to another cluster";
    case "unlisted":
      return "it is not among the peers";
    case "self":
      return "it is this node, or calls itself so";
    case "node":
      return "another node than the list says answers at that address";
    case "duplicate":
      return "another store of the same node is connected";
    case "protocol":
      return "it sent what no node sends";
    default:
      return unreachable(reason);
  }
}
