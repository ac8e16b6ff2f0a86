/**
 * Membership arithmetic: which configuration follows from which by what change (thesis 4).
 * Pure: gives a new membership and new progress, or says why the change is not possible.
 *
 * Two majorities of configurations that follow one another directly must overlap. One voter more
 * or less does that by itself; anything bigger passes through a joint configuration, in which both
 * the old and the new majority must agree.
 */
import { assert } from "../base/assert.ts";
import type { StoreId } from "../base/brand.ts";
import { Progress, type Window } from "./progress.ts";
import type { ConfChange, MemberChange, Membership } from "./types.ts";

export type ProgressMap = ReadonlyMap<StoreId, Progress>;

export interface Configuration {
  readonly membership: Membership;
  /** One per member: voters of both halves and learners. */
  readonly progress: ProgressMap;
}

export type ChangeResult =
  | { readonly kind: "changed"; readonly configuration: Configuration }
  | { readonly kind: "refused"; readonly reason: string };

/** What new members start with. */
export interface ChangeOptions extends Window {
  /** Last index of the leader's log: a new member is probed from there. */
  readonly lastIndex: number;
}

export const emptyMembership: Membership = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

export function isJoint(membership: Membership): boolean {
  return membership.votersOutgoing.length > 0;
}

/**
 * Who may be counted on, for people: until a joint change is left the old voters are needed, and those who
 * are on their way in count as learners.
 */
export function settledMembers(membership: Membership): {
  readonly voters: readonly StoreId[];
  readonly learners: readonly StoreId[];
} {
  const { voters, votersOutgoing, learners } = membership;
  if (votersOutgoing.length === 0) return { voters, learners };
  const coming = voters.filter((id) => !votersOutgoing.includes(id));
  return { voters: votersOutgoing, learners: [...learners, ...coming] };
}

/** Whether `id` counts in any majority. */
export function isVoter(membership: Membership, id: StoreId): boolean {
  return membership.voters.includes(id) || membership.votersOutgoing.includes(id);
}

/** The end of a joint change; also what a leader proposes by itself, as empty bytes. */
export function leavesJoint(change: ConfChange): boolean {
  return change.kind === "v2" && change.transition === "auto" && change.changes.length === 0;
}

/** Applies a logged change of any kind. */
export function changeConfiguration(
  from: Configuration,
  change: ConfChange,
  options: ChangeOptions,
): ChangeResult {
  if (change.kind === "v1") return simple(from, [change.change], options);
  if (leavesJoint(change)) return leaveJoint(from);
  if (change.transition === "auto" && change.changes.length === 1) {
    return simple(from, change.changes, options);
  }
  return enterJoint(from, change.changes, change.transition !== "jointExplicit", options);
}

/** At most one voter more or less. */
export function simple(
  from: Configuration,
  changes: readonly MemberChange[],
  options: ChangeOptions,
): ChangeResult {
  if (isJoint(from.membership)) return refused("can't apply simple config change in joint config");
  const draft = new Draft(from, options);
  draft.applyAll(changes);
  if (draft.voters.size === 0) return refused("removed all voters");
  if (symmetricDifference(from.membership.voters, draft.voters) > 1) {
    return refused("more than one voter changed without entering joint config");
  }
  return draft.finish(false);
}

/** Any change; the old voters stay as a second majority until leaveJoint. */
export function enterJoint(
  from: Configuration,
  changes: readonly MemberChange[],
  autoLeave: boolean,
  options: ChangeOptions,
): ChangeResult {
  if (isJoint(from.membership)) return refused("config is already joint");
  if (from.membership.voters.length === 0) {
    return refused("can't make a zero-voter config joint");
  }
  const draft = new Draft(from, options);
  draft.outgoing = new Set(from.membership.voters);
  draft.applyAll(changes);
  if (draft.voters.size === 0) return refused("removed all voters");
  return draft.finish(autoLeave);
}

export function leaveJoint(from: Configuration): ChangeResult {
  const { membership, progress } = from;
  if (!isJoint(membership)) return refused("can't leave a non-joint config");
  const next: Membership = {
    voters: membership.voters,
    votersOutgoing: [],
    learners: sorted([...membership.learners, ...membership.learnersNext]),
    learnersNext: [],
    autoLeave: false,
  };
  return changed(next, progress);
}

/** The configuration of a snapshot or a restart, every member's progress new. */
export function restoreConfiguration(
  membership: Membership,
  options: ChangeOptions,
): Configuration {
  const progress = new Map<StoreId, Progress>();
  for (const id of memberIds(membership)) progress.set(id, newProgress(options));
  const result = changed(membership, progress);
  assert(result.kind === "changed", "a stored configuration is sound");
  return result.configuration;
}

/** All members, sorted. */
export function memberIds(membership: Membership): StoreId[] {
  return sorted([
    ...new Set([...membership.voters, ...membership.votersOutgoing, ...membership.learners]),
  ]);
}

export function sorted(ids: Iterable<StoreId>): StoreId[] {
  return [...ids].sort((a, b) => a - b);
}

/** A configuration in the making. */
class Draft {
  readonly voters: Set<StoreId>;
  outgoing: ReadonlySet<StoreId> = new Set();
  private readonly learners: Set<StoreId>;
  private readonly learnersNext = new Set<StoreId>();
  private readonly progress: Map<StoreId, Progress>;
  private readonly options: ChangeOptions;

  constructor(from: Configuration, options: ChangeOptions) {
    this.voters = new Set(from.membership.voters);
    this.learners = new Set(from.membership.learners);
    this.progress = new Map(from.progress);
    this.options = options;
  }

  applyAll(changes: readonly MemberChange[]): void {
    for (const { type, id } of changes) {
      if (id === 0) continue;
      if (type === "addVoter") this.addVoter(id);
      else if (type === "addLearner") this.addLearner(id);
      else if (type === "remove") this.remove(id);
    }
  }

  finish(autoLeave: boolean): ChangeResult {
    const next: Membership = {
      voters: sorted(this.voters),
      votersOutgoing: sorted(this.outgoing),
      learners: sorted(this.learners),
      learnersNext: sorted(this.learnersNext),
      autoLeave,
    };
    return changed(next, this.progress);
  }

  private addVoter(id: StoreId): void {
    this.track(id);
    this.learners.delete(id);
    this.learnersNext.delete(id);
    this.voters.add(id);
  }

  private addLearner(id: StoreId): void {
    if (this.learners.has(id)) return;
    this.track(id);
    this.voters.delete(id);
    // Who still counts in the outgoing majority cannot be a learner too; leaveJoint makes it one.
    if (this.outgoing.has(id)) this.learnersNext.add(id);
    else this.learners.add(id);
  }

  private remove(id: StoreId): void {
    this.voters.delete(id);
    this.learners.delete(id);
    this.learnersNext.delete(id);
    if (!this.outgoing.has(id)) this.progress.delete(id);
  }

  private track(id: StoreId): void {
    if (!this.progress.has(id)) this.progress.set(id, newProgress(this.options));
  }
}

function newProgress(options: ChangeOptions): Progress {
  const progress = new Progress(Math.max(options.lastIndex, 1), false, options);
  // New members are given one round to answer before they count as gone.
  progress.recentActive = true;
  return progress;
}

function refused(reason: string): ChangeResult {
  return { kind: "refused", reason };
}

/** Checks the invariants of Membership and keeps the progress of members only. */
function changed(membership: Membership, tracked: ProgressMap): ChangeResult {
  const { voters, votersOutgoing, learners, learnersNext } = membership;
  for (const id of learners) {
    assert(!isVoter(membership, id), "a learner is no voter", id);
  }
  for (const id of learnersNext) {
    assert(votersOutgoing.includes(id), "learnersNext are outgoing voters", id);
    assert(!voters.includes(id), "learnersNext are not incoming voters", id);
  }
  assert(isJoint(membership) || !membership.autoLeave, "autoLeave only while joint");
  const progress = new Map<StoreId, Progress>();
  for (const id of memberIds(membership)) {
    const known = tracked.get(id);
    assert(known !== undefined, "every member has progress", id);
    progress.set(id, known.withLearner(learners.includes(id)));
  }
  return { kind: "changed", configuration: { membership, progress } };
}

function symmetricDifference(before: readonly StoreId[], after: ReadonlySet<StoreId>): number {
  let common = 0;
  for (const id of before) if (after.has(id)) common++;
  return before.length + after.size - 2 * common;
}
