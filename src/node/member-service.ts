/**
 * Changes of the cluster's membership, over all shards: each shard's leader, here or elsewhere, is
 * asked in turn, until every shard has it. An action that is cut short can be asked for again.
 */

import { type StoreId, toStoreId } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import type { Clock, Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { MemberNames, MembersAdmin } from "../router/members.ts";
import type { PeerRequest } from "../router/peer-calls.ts";
import { callKinds } from "../router/remote-codec.ts";
import { readable } from "../router/remote-shard.ts";
import type { ClusterView } from "../router/shard-routes.ts";
import { decodeMembers, encodeMembers, type Member } from "../shard/members.ts";
import type { Shard } from "../shard/shard.ts";
import type { NodeAddress } from "../transport/transport.ts";
import type { Cluster } from "./cluster.ts";

export interface MemberServiceDeps {
  readonly cluster: Cluster;
  readonly view: ClusterView;
  readonly shards: readonly (Shard | null)[];
  readonly clock: Clock;
  readonly timers: Timers;
}

/** What the leader of one shard does. */
type ShardAction =
  | { readonly kind: "add"; readonly member: Member }
  | { readonly kind: "remove"; readonly storeId: StoreId }
  | { readonly kind: "transfer"; readonly storeId: StoreId };

/** rejoin: the node that asks has an empty store, and takes the place of the member of its name. */
type Action = ShardAction | { readonly kind: "rejoin" };

const actionKinds = ["add", "remove", "transfer", "rejoin"] as const;
const retryMs = 50;

export class MemberService implements MembersAdmin {
  private readonly deps: MemberServiceDeps;
  /** Nodes that take the place of a member of their name, until they are members. */
  private readonly rejoining = new Map<StoreId, Promise<void>>();

  constructor(deps: MemberServiceDeps) {
    this.deps = deps;
  }

  /** A voter is one of every shard; who belongs to some, or is yet to become one, is a learner. */
  membership(): MemberNames {
    const voters = new Map<string, number>();
    const all = new Set<string>();
    const shards = this.deps.shards.filter((one) => one !== null);
    for (const { consensus } of shards) {
      const { members } = consensus;
      const found = consensus.settledMembers();
      const names = (ids: readonly StoreId[]) => ids.map((id) => this.nameOf(members, id));
      for (const name of names(found.voters)) voters.set(name, (voters.get(name) ?? 0) + 1);
      for (const name of names([...found.voters, ...found.learners])) all.add(name);
    }
    const isVoter = (name: string) => voters.get(name) === shards.length;
    const names = [...all].sort();
    return { voters: names.filter(isVoter), learners: names.filter((name) => !isVoter(name)) };
  }

  private nameOf(members: readonly Member[], id: StoreId): string {
    const { self } = this.deps.cluster;
    if (id === self.storeId) return self.nodeId;
    return members.find(({ storeId }) => storeId === id)?.nodeId ?? String(id);
  }

  async add(node: NodeAddress): Promise<MemberNames> {
    const { cluster, clock } = this.deps;
    const sinceMs = clock.monotonicMs();
    await this.current();
    const old = [cluster.self, ...cluster.members()].find(({ nodeId }) => nodeId === node.nodeId);
    cluster.invite(node);
    try {
      const peer = await this.within("the node can be reached", () =>
        cluster.peer(node.nodeId, sinceMs),
      );
      if (old && old.storeId !== peer.storeId) {
        throw new QueueError(
          "invalid_argument",
          `id: a node ${node.nodeId} with another store is a member; remove it first`,
          { field: "id" },
        );
      }
      if (peer.clusterId !== "" && peer.clusterId !== cluster.clusterId) {
        throw new QueueError("invalid_argument", `id: ${node.nodeId} belongs to another cluster`, {
          field: "id",
        });
      }
      const { storeId, nodeId, raft, http, grpc } = peer;
      const member = { storeId, nodeId, raft, http: http || node.http, grpc: grpc || node.grpc };
      await this.everywhere({ kind: "add", member });
    } catch (error) {
      cluster.uninvite(node.nodeId);
      throw error;
    }
    return this.membership();
  }

  async remove(nodeId: string): Promise<MemberNames> {
    await this.current();
    const gone = this.stores(nodeId);
    if (gone.length === 0) throw new QueueError("not_found", `no member ${nodeId}`);
    for (const storeId of gone) await this.everywhere({ kind: "remove", storeId });
    return this.membership();
  }

  /** Stores of members with this name: one, but while it is being replaced. */
  private stores(nodeId: string): readonly StoreId[] {
    const { cluster } = this.deps;
    const all = [cluster.self, ...cluster.members()];
    return all.filter((member) => member.nodeId === nodeId).map(({ storeId }) => storeId);
  }

  /** A node whose store is new takes the place of the member that it was. */
  private async takeAgain(from: StoreId): Promise<void> {
    const { cluster } = this.deps;
    const node = cluster.peerOf(from);
    if (!node) throw new QueueError("no_leader", "the node is not connected");
    const others = () => this.stores(node.nodeId).filter((storeId) => storeId !== from);
    cluster.invite(node, from);
    for (const storeId of others()) await this.everywhere({ kind: "remove", storeId });
    await this.within("it is a member no more", () => (others().length === 0 ? true : null));
    await this.add(node);
  }

  /** Asked again while it is under way, it waits for the same. */
  private rejoin(from: StoreId): Promise<void> {
    const running = this.rejoining.get(from);
    if (running) return running;
    const done = this.takeAgain(from).finally(() => this.rejoining.delete(from));
    this.rejoining.set(from, done);
    return done;
  }

  async transfer(shard: number | null, to: string | null): Promise<MemberNames> {
    const { shards } = this.deps;
    this.mustBelong();
    const target = to === null ? null : this.memberNamed(to);
    const numbers = shard === null ? [...shards.keys()] : [shard];
    for (const number of numbers) {
      if (number >= shards.length) {
        throw new QueueError("invalid_argument", `shard: must be below ${shards.length}`, {
          field: "shard",
        });
      }
      const next = target ?? this.nextLeader(number);
      if (next === null) throw new QueueError("not_found", "no other voter to hand over to");
      if (this.leaderOf(number) === next) continue;
      const before = this.termOf(number);
      await this.act(number, { kind: "transfer", storeId: next });
      await this.within("the target leads", () => this.hasTakenOver(number, next, before));
    }
    return this.membership();
  }

  private termOf(number: number): number {
    return this.deps.shards[number]?.consensus.raft.term ?? 0;
  }

  /** null: not yet. @throws QueueError timeout: another one was elected since that term */
  private hasTakenOver(number: number, target: StoreId, since: number): true | null {
    const leader = this.leaderOf(number);
    if (leader === target) return true;
    if (leader === null || this.termOf(number) <= since) return null;
    const members = this.deps.shards[number]?.consensus.members ?? [];
    const [name, other] = [target, leader].map((id) => this.nameOf(members, id));
    throw new QueueError("timeout", `${name} did not take over; ${other} leads shard ${number}`);
  }

  /** Brings the replicas here up to date: an old view would miss members, or see some that are gone. */
  private async current(): Promise<void> {
    this.mustBelong();
    const shards = this.deps.shards.filter((shard) => shard !== null);
    await Promise.all(shards.map((shard) => shard.consensus.readBarrier()));
  }

  /** A node without replicas knows of no members, and must not say that there are none. */
  private mustBelong(): void {
    if (this.deps.shards.includes(null)) {
      throw new QueueError("no_leader", "this node does not belong to the cluster yet");
    }
  }

  private memberNamed(nodeId: string): StoreId {
    const { cluster } = this.deps;
    const all = [cluster.self, ...cluster.members()];
    const member = all.find((one) => one.nodeId === nodeId);
    if (!member) throw new QueueError("not_found", `no member ${nodeId}`);
    return member.storeId;
  }

  private leaderOf(number: number): StoreId | null {
    return this.deps.shards[number]?.consensus.leaderId || null;
  }

  /** A voter that is connected and does not lead the shard. */
  private nextLeader(number: number): StoreId | null {
    const { cluster } = this.deps;
    const voters = this.deps.shards[number]?.consensus.raft.membership.voters ?? [];
    const leader = this.leaderOf(number);
    const able = voters.filter(
      (id) => id !== leader && (id === cluster.self.storeId || cluster.isConnected(id)),
    );
    return able[0] ?? null;
  }

  private async everywhere(action: ShardAction): Promise<void> {
    for (const number of this.deps.shards.keys()) await this.act(number, action);
  }

  /** Asks the shard's leader until it is done, for a bounded time. */
  private async act(number: number, action: ShardAction): Promise<void> {
    const { clock, timers } = this.deps;
    const until = clock.monotonicMs() + limits.memberActionMs;
    for (;;) {
      try {
        await this.tryAct(number, action);
        return;
      } catch (error) {
        if (!(error instanceof QueueError) || !isPassing(error)) throw error;
        if (clock.monotonicMs() > until) throw error;
      }
      await new Promise<void>((resolve) => timers.after(retryMs, resolve));
    }
  }

  private tryAct(number: number, action: ShardAction): Promise<void> {
    const { shards, view } = this.deps;
    const shard = shards[number];
    if (shard?.leads) return this.actHere(shard, action);
    const leader = view.leaderOf(number);
    if (!leader) return Promise.reject(new QueueError("no_leader", `shard ${number}: no leader`));
    return new Promise((resolve, reject) => {
      view.calls.call(
        leader.storeId,
        { shard: number, kind: callKinds.admin },
        [encodeAction(action)],
        readable({ answered: () => resolve(), failed: reject }),
      );
    });
  }

  private async actHere(shard: Shard, action: ShardAction): Promise<void> {
    const { consensus } = shard;
    const { voters, learners } = consensus.raft.membership;
    switch (action.kind) {
      case "add": {
        const known = consensus.members.some(({ storeId }) => storeId === action.member.storeId);
        const isMember = [...voters, ...learners].includes(action.member.storeId);
        if (known && isMember) await consensus.membership.settled();
        else await consensus.membership.add(action.member);
        return;
      }
      case "remove":
        if (![...voters, ...learners].includes(action.storeId)) {
          await consensus.membership.settled();
        } else if (action.storeId === consensus.raft.id) await this.leave(shard);
        else await consensus.membership.remove(action.storeId);
        return;
      case "transfer":
        if (!voters.includes(action.storeId)) {
          throw new QueueError("invalid_argument", "to: not a voter", { field: "to" });
        }
        await this.handOver(shard, action.storeId);
    }
  }

  /**
   * This node leads and another one shall: waits until that is so, or the group has given it up and
   * the other one, which may have been told to stand, has had the time that an election takes.
   * @throws QueueError invalid_argument: it is not there; timeout: it did not take over
   */
  private async handOver(shard: Shard, target: StoreId): Promise<void> {
    const { cluster, clock, timers } = this.deps;
    const { consensus } = shard;
    if (target === consensus.raft.id) return;
    const name = this.nameOf(consensus.members, target);
    const leads = `${cluster.self.nodeId} leads shard ${shard.id} on`;
    if (!cluster.isConnected(target) || consensus.isSilent(target)) {
      throw new QueueError("invalid_argument", `to: ${name} cannot be reached; ${leads}`, {
        field: "to",
      });
    }
    consensus.transferTo(target);
    let givenUpMs: number | null = null;
    while (shard.leads) {
      if (consensus.raft.transferee !== target) givenUpMs ??= clock.monotonicMs();
      if (givenUpMs !== null && clock.monotonicMs() - givenUpMs >= consensus.electionMs) {
        throw new QueueError("timeout", `${name} did not take over; ${leads}`);
      }
      await new Promise<void>((resolve) => timers.after(retryMs, resolve));
    }
  }

  /** This node leads and shall go: another one leads first, and is then asked. */
  private async leave(shard: Shard): Promise<void> {
    const next = this.nextLeader(shard.id);
    if (next === null) {
      throw new QueueError("invalid_argument", "id: the last voter cannot be removed", {
        field: "id",
      });
    }
    shard.consensus.transferTo(next);
    await this.within("another one leads", () => (shard.leads ? null : true));
    throw new QueueError("no_leader", "leadership has moved");
  }

  /** What another node passes on. */
  requested(request: PeerRequest): void {
    const action = decodeAction(request.body);
    if (action.kind === "rejoin") {
      answer(request, this.rejoin(request.from));
      return;
    }
    const shard = this.deps.shards[request.shard];
    if (!shard?.leads) {
      request.refuse(new QueueError("no_leader", "this replica does not lead"));
      return;
    }
    answer(request, this.actHere(shard, action));
  }

  private async within<T>(what: string, look: () => T | null): Promise<T> {
    const { clock, timers } = this.deps;
    const until = clock.monotonicMs() + limits.memberActionMs;
    for (;;) {
      const found = look();
      if (found !== null) return found;
      if (clock.monotonicMs() > until) throw new QueueError("timeout", `${what}: not in time`);
      await new Promise<void>((resolve) => timers.after(retryMs, resolve));
    }
  }
}

/** Worth another try within the action: a leader moves, or another change is under way. */
function isPassing({ code }: QueueError): boolean {
  return (
    code === "no_leader" ||
    code === "not_leader" ||
    code === "overloaded" ||
    code === "unknown_outcome"
  );
}

function answer(request: PeerRequest, done: Promise<void>): void {
  done.then(
    () => request.reply([]),
    (error: unknown) => {
      request.refuse(error instanceof QueueError ? error : new QueueError("internal", "failed"));
    },
  );
}

export function encodeAction(action: Action): Buffer {
  const out = new ByteWriter(128);
  out.u8(actionKinds.indexOf(action.kind));
  if (action.kind === "add") out.bytes(encodeMembers([action.member]));
  else if (action.kind !== "rejoin") out.u64(action.storeId);
  return out.finish();
}

/** @throws DecodeError */
function decodeAction(body: Buffer): Action {
  const input = new ByteReader(body);
  const kind = actionKinds[input.u8()];
  if (kind === "rejoin") return { kind };
  if (kind === "add") {
    const [member] = decodeMembers(input.bytes(input.left));
    if (member) return { kind, member };
  } else if (kind) return { kind, storeId: toStoreId(input.u64()) };
  throw new DecodeError("unknown action on members");
}
