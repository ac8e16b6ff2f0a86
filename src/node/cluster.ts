/**
 * A node's part in its cluster: how it comes to belong to one, whom it keeps connections with, and
 * what it says to newcomers.
 *
 * waiting (an empty store: nothing is served) → founded, by this node or by the one with
 * raft.bootstrap, or taken in, by the leader of a cluster that has made it a member → member
 */
import { type StoreId, toStoreId } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import type { Logger, Random, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { PeerCalls } from "../router/peer-calls.ts";
import type { LogStart } from "../shard/log-store.ts";
import { decodeMembers, encodeMembers, type Member, type Members } from "../shard/members.ts";
import type { NodeReceiver, PeerLink } from "../shard/peer-link.ts";
import { foundedBy, unfounded } from "../shard/recovery.ts";
import { nodeFrames } from "../shard/replica-frames.ts";
import type { Shard } from "../shard/shard.ts";
import type { ClusterFile } from "../storage/cluster-file.ts";
import {
  type NodeAddress,
  type NodeIdentity,
  nodeGroup,
  type RefusalReason,
  type Transport,
} from "../transport/transport.ts";
import { ConfigError } from "./config.ts";

export interface ClusterDeps {
  readonly transport: Transport;
  readonly link: PeerLink;
  readonly calls: PeerCalls;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  /** Replicas here by shard; null until they are open. */
  readonly shards: readonly (Shard | null)[];
  /** Keeps what this node belongs to, durably. */
  readonly save: (file: ClusterFile) => void;
  /** The node belongs to a cluster from now on. */
  readonly founded: (start: LogStart) => void;
  readonly fatal: (error: unknown) => void;
}

export interface ClusterOptions {
  readonly self: Member;
  /** raft.peers without this node. */
  readonly peers: readonly NodeAddress[];
  /** This node founds the cluster. */
  readonly bootstrap: boolean;
  /** What the data directory says; null: it belongs to none. */
  readonly stored: ClusterFile | null;
  /** With an empty store it asks those that belong to a cluster to take it in (rejoin.ts). */
  readonly rejoin: boolean;
}

/** A node that shall become a member, under whatever store it has, or under this one. */
interface Newcomer {
  readonly address: NodeAddress;
  readonly storeId: StoreId | null;
}

export class Cluster implements NodeReceiver {
  readonly self: Member;
  private readonly deps: ClusterDeps;
  private readonly options: ClusterOptions;
  private file: ClusterFile | null;
  /** Connected, by store. */
  private readonly connected = new Map<StoreId, NodeIdentity>();
  /** Newcomers that are being taken in, until they are members, by name. */
  private readonly newcomers = new Map<string, Newcomer>();
  /** Members that others told of while this node looked in vain for a leader, by name. */
  private readonly heardOf = new Map<string, NodeAddress>();
  private dialled = "";
  /** Looks in a row at which a shard here had no leader that is known as a member. */
  private looksAlone = 0;
  private stopped = false;
  private hinted = false;
  private readonly listeners = new Set<() => void>();

  constructor(deps: ClusterDeps, options: ClusterOptions) {
    this.deps = deps;
    this.options = options;
    this.self = options.self;
    this.file = options.stored;
    deps.link.setNode(this);
  }

  /** Where the logs of this node's replicas begin; null while it belongs to no cluster. */
  get start(): LogStart | null {
    const { file } = this;
    if (!file) return null;
    const founders = file.founders.map((one) => ({ ...one, storeId: toStoreId(one.storeId) }));
    if (founders.length === 0) return unfounded;
    return foundedBy(
      founders.map(({ storeId }) => storeId),
      founders,
    );
  }

  get clusterId(): string {
    return this.file?.clusterId ?? "";
  }

  /** To be called when the transport is started. */
  run(): void {
    this.dial();
    this.maybeFound();
    this.look();
  }

  private look(): void {
    this.deps.timers.after(limits.memberLookMs, () => {
      if (this.stopped) return;
      this.looksAlone = this.hasLeaders() ? 0 : this.looksAlone + 1;
      if (!this.isLost) this.heardOf.clear();
      else
        for (const { storeId } of this.founded()) this.tell(storeId, nodeFrames.membersAsked, []);
      this.dial();
      this.renewAddresses();
      this.look();
    });
  }

  /** Others may have taken the members' places while this node was away, and lead. */
  private get isLost(): boolean {
    return this.looksAlone >= limits.looksUntilLost;
  }

  private hasLeaders(): boolean {
    return this.deps.shards.every((shard) => {
      if (!shard) return true;
      const { leaderId, members } = shard.consensus;
      return members.some(({ storeId }) => storeId === leaderId);
    });
  }

  stop(): void {
    this.stopped = true;
  }

  // Whom this node keeps connections with

  /** Members of any shard, this node left out. */
  members(): Members {
    const found = new Map<StoreId, Member>();
    for (const shard of this.deps.shards) {
      for (const member of shard?.consensus.members ?? []) found.set(member.storeId, member);
    }
    found.delete(this.self.storeId);
    return [...found.values()];
  }

  /**
   * Members and newcomers; the configured nodes too as long as nothing is known of members, or when
   * those may all be gone. Then those that others tell of come first: they know better.
   */
  private dial(): void {
    const members = this.members();
    const isAlone = members.length === 0 || this.isLost;
    const known: NodeAddress[] = [
      ...(isAlone ? this.options.peers : []),
      ...members,
      ...this.heardOf.values(),
    ];
    const byName = new Map(known.map((node) => [node.nodeId, node]));
    for (const [name, { address, storeId }] of this.newcomers) {
      const isIn = members.some(
        (member) => member.nodeId === name && (storeId ?? member.storeId) === member.storeId,
      );
      if (isIn) this.newcomers.delete(name);
      else byName.set(name, address);
    }
    byName.delete(this.self.nodeId);
    const list = [...byName.values()].filter(({ raft }) => raft !== "");
    const text = JSON.stringify(list);
    if (text === this.dialled) return;
    this.dialled = text;
    this.deps.transport.setPeers(
      list.map(({ nodeId, raft, http, grpc }) => ({ nodeId, raft, http, grpc })),
    );
  }

  /**
   * Connects with a node that shall become a member.
   * @param storeId - its store, if another one of its name is a member
   */
  invite(address: NodeAddress, storeId: StoreId | null = null): void {
    this.newcomers.set(address.nodeId, { address, storeId });
    this.dial();
  }

  uninvite(nodeId: string): void {
    this.newcomers.delete(nodeId);
    this.dial();
  }

  /**
   * Who is connected under that name.
   * @param sinceMs - and was heard of since then, monotonic ms: a process that has ended may seem
   *   to be there until its silence is noticed
   */
  peer(nodeId: string, sinceMs = 0): NodeIdentity | null {
    for (const peer of this.connected.values()) {
      if (peer.nodeId === nodeId && this.contactMs(peer) >= sinceMs) return peer;
    }
    return null;
  }

  /** Who is connected with that store. */
  peerOf(storeId: StoreId): NodeIdentity | null {
    return this.connected.get(storeId) ?? null;
  }

  /** Connected nodes that belong to a cluster. */
  founded(): readonly NodeIdentity[] {
    return [...this.connected.values()].filter(({ clusterId }) => clusterId !== "");
  }

  private contactMs({ storeId }: NodeIdentity): number {
    const states = this.deps.transport.peers();
    return states.find((state) => state.storeId === storeId)?.lastContactMs ?? 0;
  }

  isConnected(storeId: StoreId): boolean {
    return this.connected.has(storeId);
  }

  /** Calls back when a node comes or goes. @returns a function that ends it */
  onPeers(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Leaders see to it that the group knows where members are found now. */
  private renewAddresses(): void {
    for (const shard of this.deps.shards) {
      if (!shard?.leads || shard.consensus.membership.isBusy()) continue;
      const stale = this.staleMember(shard);
      // Whether it works shows at the next look.
      if (stale) shard.consensus.membership.add(stale).catch(() => undefined);
    }
  }

  private staleMember(shard: Shard): Member | null {
    const { members, raft } = shard.consensus;
    const ids = new Set([...raft.membership.voters, ...raft.membership.learners]);
    for (const now of [this.self, ...this.connected.values()]) {
      if (!ids.has(now.storeId)) continue;
      const known = members.find(({ storeId }) => storeId === now.storeId);
      const { storeId, nodeId, raft: address, http, grpc } = now;
      const fresh = { storeId, nodeId, raft: address, http, grpc };
      if (!known || JSON.stringify(known) !== JSON.stringify(fresh)) return fresh;
    }
    return null;
  }

  // How this node comes to belong to a cluster

  private maybeFound(): void {
    const { options, deps } = this;
    if (this.file || !options.bootstrap) return;
    const peers = options.peers.map(({ nodeId }) => this.peer(nodeId));
    for (const peer of peers) {
      if (!peer || peer.clusterId === "") continue;
      // It was emptied: it belongs to that one.
      if (options.rejoin) return;
      deps.fatal(
        new ConfigError([
          `raft.bootstrap: ${peer.nodeId} belongs to a cluster already; start without it, and add this node with "member add"`,
        ]),
      );
      return;
    }
    if (peers.some((peer) => peer === null)) return;
    const founders: Member[] = [options.self];
    for (const peer of peers) if (peer) founders.push(memberOf(peer));
    const id = Buffer.alloc(16);
    deps.random.fill(id);
    deps.logger.info("founds the cluster", { nodes: founders.length });
    this.belong({ clusterId: id.toString("hex"), founders });
    for (const peer of peers) if (peer) this.greet(peer);
  }

  /** An emptied member waits for ever, if nobody knows what to do. */
  private hint(peer: NodeIdentity): void {
    if (this.file || peer.clusterId === "" || this.options.rejoin || this.hinted) return;
    this.hinted = true;
    this.deps.logger.warn(
      "this node's store is empty, and others belong to a cluster: add it as a member, or start it with --rejoin",
      { node: peer.nodeId },
    );
  }

  private belong(file: ClusterFile): void {
    this.deps.save(file);
    this.file = file;
    this.deps.transport.setClusterId(file.clusterId);
    this.deps.founded(this.start ?? unfounded);
  }

  /** Tells a node with an empty store that it belongs to this cluster, if it does. */
  private greet(peer: NodeIdentity): void {
    const { file } = this;
    if (!file || peer.clusterId !== "") return;
    const isFounder = file.founders.some(({ storeId }) => storeId === peer.storeId);
    const isMember = this.members().some(({ storeId }) => storeId === peer.storeId);
    if (!isFounder && !isMember) return;
    const founders = file.founders.map((one) => ({ ...one, storeId: toStoreId(one.storeId) }));
    const out = new ByteWriter(256);
    out.latin1(file.clusterId);
    out.u16(this.deps.shards.length);
    out.bytes(encodeMembers(isFounder ? founders : []));
    this.tell(peer.storeId, nodeFrames.found, [out.finish()]);
  }

  /** The membership is another one: newcomers hear of it, and connections follow. */
  membersChanged(): void {
    this.dial();
    for (const peer of this.connected.values()) this.greet(peer);
  }

  private greeted(from: StoreId, body: Buffer): void {
    const input = new ByteReader(body);
    const clusterId = input.latin1();
    const shardCount = input.u16();
    const founders = decodeMembers(input.bytes(input.left));
    if (this.file) return;
    if (!/^[0-9a-f]{32}$/.test(clusterId)) throw new DecodeError("a cluster's id");
    const { shards, logger, fatal } = this.deps;
    if (shardCount !== shards.length) {
      fatal(
        new ConfigError([
          `storage.numShards: the cluster has ${shardCount} shards, this node ${shards.length}`,
        ]),
      );
      return;
    }
    const isNamed = founders.some(({ storeId }) => storeId === this.self.storeId);
    if (founders.length > 0 && !isNamed) return;
    logger.info("belongs to a cluster now", { from, founders: founders.length });
    this.belong({ clusterId, founders });
  }

  // Members that this node does not know of: one of them may lead, and is refused until then

  /** A member that is lost wants to know who the others are. */
  private asked(from: StoreId): void {
    const members = encodeMembers([this.self, ...this.members()]);
    if (this.file) this.tell(from, nodeFrames.members, [members]);
  }

  private told(from: StoreId, body: Buffer): void {
    const told = decodeMembers(body);
    const isOurs = this.connected.get(from)?.clusterId === this.clusterId;
    if (!this.isLost || !isOurs) return;
    for (const member of told) this.heardOf.set(member.nodeId, member);
    this.dial();
  }

  private tell(to: StoreId, type: number, parts: readonly Uint8Array[]): void {
    this.deps.transport.send(to, "control", nodeGroup, type, parts);
  }

  // What the transport tells

  frame(from: StoreId, type: number, body: Buffer): void {
    if (type === nodeFrames.found) this.greeted(from, body);
    else if (type === nodeFrames.membersAsked) this.asked(from);
    else if (type === nodeFrames.members) this.told(from, body);
    else this.deps.calls.frame(from, type, body);
  }

  peerFound(peer: NodeIdentity): void {
    this.connected.set(peer.storeId, peer);
    this.deps.logger.info("connected", { node: peer.nodeId, address: peer.raft });
    this.hint(peer);
    this.maybeFound();
    this.greet(peer);
    for (const listener of this.listeners) listener();
  }

  peerGone(storeId: StoreId): void {
    const peer = this.connected.get(storeId);
    this.connected.delete(storeId);
    this.deps.calls.peerGone(storeId);
    if (peer) this.deps.logger.info("disconnected", { node: peer.nodeId });
    for (const listener of this.listeners) listener();
  }

  refused(address: string, reason: RefusalReason): void {
    this.deps.logger.warn("a connection between nodes was refused", { address, reason });
  }
}

function memberOf({ storeId, nodeId, raft, http, grpc }: NodeIdentity): Member {
  return { storeId, nodeId, raft, http, grpc };
}
