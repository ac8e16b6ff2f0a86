/**
 * The membership proposer of one shard: the only one that proposes changes of who belongs to its
 * group. It keeps what the core does not ask for: no change before an entry of the leader's own
 * term is committed (the thesis's errata, FAULTS B35), one change at a time (B36), and voters in odd
 * numbers: new members are learners first and become voters together as soon as that makes the
 * number odd, so that growing from one to three never passes two.
 */
import type { StoreId } from "../base/brand.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { decodeConfChange } from "../raft/conf-change-codec.ts";
import type { ConfChange, Entry, MemberChange, Membership, RaftNode } from "../raft/types.ts";
import { decodeMembers, encodeMembers, type Member, type Members, withMembers } from "./members.ts";

export interface MembershipDeps {
  readonly raft: RaftNode;
  readonly members: () => Members;
  /** It leads and has committed an entry of its term. */
  readonly serves: () => boolean;
  /** Something was proposed. */
  readonly proposed: () => void;
}

const noData = Buffer.alloc(0);

interface Waiting {
  readonly term: number;
  readonly resolve: () => void;
  readonly reject: (error: QueueError) => void;
}

export class MembershipProposer {
  private readonly deps: MembershipDeps;
  private readonly waiting = new Map<number, Waiting>();
  /** Changes in force whose callers wait until a quorum knows of them durably. */
  private inForce: Waiting[] = [];
  /**
   * An entry that was proposed with the present membership in force: once it is committed, a quorum
   * has it, and with it the commit index that puts the membership in force, whatever restarts
   * (log-store.ts). Before that a node that was removed must not go away. null: still to be proposed.
   */
  private proof: number | null = null;
  private hasChanged = false;
  /** Leader: the membership that was in force for good, while a later one is not yet. */
  private before: Membership | null = null;

  constructor(deps: MembershipDeps) {
    this.deps = deps;
  }

  /**
   * Takes a new member in as a learner; resolves when that is in force for good. One that belongs to the
   * group already gets its addresses renewed.
   * @throws QueueError not_leader, overloaded: another change is under way
   */
  add(member: Member): Promise<void> {
    const { voters, learners } = this.deps.raft.membership;
    const isMember = [...voters, ...learners].includes(member.storeId);
    const type = isMember ? "update" : "addLearner";
    return this.propose([{ type, id: member.storeId }], [member]);
  }

  /**
   * Removes a member; resolves when that is in force for good. A leader does not remove itself: it
   * must have handed over before.
   * @throws QueueError not_leader, not_found, overloaded, invalid_argument: the last voter
   */
  async remove(id: StoreId): Promise<void> {
    const { raft } = this.deps;
    const { voters, learners } = raft.membership;
    if (![...voters, ...learners].includes(id)) {
      throw new QueueError("not_found", "no such member");
    }
    if (id === raft.id) {
      throw new QueueError("invalid_argument", "a leader must hand over before it is removed");
    }
    await this.propose([{ type: "remove", id }], []);
  }

  /** Resolves when the membership in force is so for good. @throws QueueError no_leader */
  settled(): Promise<void> {
    const { raft, serves } = this.deps;
    if (!serves()) return Promise.reject(notHere());
    const { term } = raft;
    const done = new Promise<void>((resolve, reject) => {
      this.inForce.push({ term, resolve, reject });
    });
    this.look();
    return done;
  }

  /** To be called when more is applied, and at every tick. */
  look(): void {
    const { raft, serves, proposed } = this.deps;
    if (!serves()) return;
    // One that is alone has found its membership in its own store.
    if (raft.membership.voters.length === 1 && !this.hasChanged) this.proof = 0;
    if (this.proof === null) {
      const outcome = raft.propose(noData);
      if (outcome.kind !== "accepted") return;
      this.proof = outcome.index;
      proposed();
    }
    if (!this.isProven) return;
    for (const { resolve } of this.inForce.splice(0)) resolve();
  }

  /**
   * The membership for people, who may lose a node once they have read of its successor: a leader
   * tells of a later one when that is in force for good.
   */
  get shown(): Membership {
    const { raft } = this.deps;
    return this.isProven || this.before === null ? raft.membership : this.before;
  }

  private get isProven(): boolean {
    return this.proof !== null && this.deps.raft.commitIndex >= this.proof;
  }

  /** To be called at every tick: makes voters of learners that have caught up, if it is time. */
  tick(): void {
    const { raft, serves } = this.deps;
    this.look();
    if (raft.membership.learners.length === 0 || !serves() || this.isBusy()) return;
    const { voters } = raft.membership;
    const caughtUp = raft
      .status()
      .progress.filter(
        (member) =>
          member.isLearner &&
          member.state === "replicate" &&
          member.recentActive &&
          member.match + limits.caughtUpEntries >= raft.commitIndex,
      )
      .map(({ id }) => id);
    const count = caughtUp.length - ((voters.length + caughtUp.length) % 2 === 0 ? 1 : 0);
    if (count <= 0) return;
    const changes = caughtUp.slice(0, count).map((id) => ({ type: "addVoter", id }) as const);
    // Whether it works shows at the next tick.
    this.propose(changes, []).catch(() => undefined);
  }

  /** A change is proposed and not in force for good, or a joint one is not left. */
  isBusy(): boolean {
    const isJoint = this.deps.raft.membership.votersOutgoing.length > 0;
    return this.waiting.size > 0 || isJoint || !this.isProven;
  }

  private propose(changes: readonly MemberChange[], found: Members): Promise<void> {
    const { raft, serves, proposed } = this.deps;
    if (!serves()) {
      return Promise.reject(notHere());
    }
    if (this.isBusy()) return Promise.reject(underWay());
    const context = encodeMembers(found);
    const outcome = raft.proposeConfChange({ kind: "v2", transition: "auto", changes, context });
    const done = new Promise<void>((resolve, reject) => {
      if (outcome.kind === "accepted") {
        this.waiting.set(outcome.index, { term: outcome.term, resolve, reject });
      } else if (outcome.kind === "refused") {
        reject(new QueueError("invalid_argument", outcome.reason));
      } else reject(underWay());
    });
    proposed();
    return done;
  }

  /**
   * A committed change takes force.
   * @returns where the members are found from now on
   */
  apply(entry: Entry): Members {
    const { raft, members } = this.deps;
    const change = decodeConfChange(entry.data);
    if (this.isProven) this.before = raft.membership;
    this.proof = null;
    this.hasChanged = true;
    const { voters, votersOutgoing, learners } = raft.applyConfChange(change);
    const belong = new Set([...voters, ...votersOutgoing, ...learners]);
    const all = withMembers(members(), foundIn(change));
    return all.filter(({ storeId }) => belong.has(storeId));
  }

  /** To be called when the change of that entry is in force and saved with the log. */
  applied(entry: Entry): void {
    const waiting = this.waiting.get(entry.index);
    if (!waiting) return;
    this.waiting.delete(entry.index);
    if (waiting.term === entry.term) this.inForce.push(waiting);
    else waiting.reject(lost());
  }

  /** Leadership is lost: whoever waits learns that the outcome is unknown. */
  failAll(): void {
    for (const { reject } of [...this.waiting.values(), ...this.inForce]) reject(lost());
    this.waiting.clear();
    this.inForce = [];
    this.proof = null;
    this.before = null;
  }
}

function notHere(): QueueError {
  return new QueueError("no_leader", "this replica does not lead");
}

function foundIn(change: ConfChange): Members {
  return change.context.length === 0 ? [] : decodeMembers(change.context);
}

function underWay(): QueueError {
  return new QueueError("overloaded", "another change of the membership is under way", {
    retryAfterSeconds: 1,
  });
}

function lost(): QueueError {
  return new QueueError("unknown_outcome", "leadership was lost");
}
