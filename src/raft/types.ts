/**
 * The words of the Raft core: entries, messages, what a driver gets (Ready) and what it must give
 * (LogReader). Terms follow the Raft paper (Ongaro and Ousterhout 2014) and Ongaro's thesis.
 */
import { type LogIndex, type StoreId, type Term, toStoreId } from "../base/brand.ts";
import type { ProgressStatus } from "./progress-status.ts";

export const NO_ONE: StoreId = toStoreId(0);
/** Addressee of storage writes; the two highest ids are never given to a replica. */
export const LOCAL_APPEND: StoreId = toStoreId(Number.MAX_SAFE_INTEGER);
/** Addressee of committed entries. */
export const LOCAL_APPLY: StoreId = toStoreId(Number.MAX_SAFE_INTEGER - 1);

export function isLocalTarget(id: StoreId): boolean {
  return id === LOCAL_APPEND || id === LOCAL_APPLY;
}

export type EntryType = "normal" | "confChange" | "confChangeV2";

export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly type: EntryType;
  /** Not looked into, unless it is a membership change. May share memory with a frame. */
  readonly data: Buffer;
}

/** What must survive a restart. All zeros: nothing was ever written. */
export interface HardState {
  readonly term: Term;
  /** Whom this replica voted for in `term`; 0 = no one. */
  readonly vote: StoreId;
  /** Need not be synced: a follower learns it again from its leader. */
  readonly commit: LogIndex;
}

export type Role = "follower" | "pre-candidate" | "candidate" | "leader";

/** What need not survive a restart. */
export interface SoftState {
  readonly leaderId: StoreId;
  readonly role: Role;
}

/**
 * Who counts. Arrays are sorted by id and hold no id twice.
 * Invariant: an id is a voter or a learner, not both; learnersNext is part of votersOutgoing;
 * outside a joint change votersOutgoing and learnersNext are empty and autoLeave is false.
 */
export interface Membership {
  readonly voters: readonly StoreId[];
  /** The majority that must agree too while a joint change is under way. */
  readonly votersOutgoing: readonly StoreId[];
  readonly learners: readonly StoreId[];
  /** Outgoing voters that become learners when the joint change ends. */
  readonly learnersNext: readonly StoreId[];
  /** The leader ends the joint change by itself. */
  readonly autoLeave: boolean;
}

export type MemberChangeType = "addVoter" | "addLearner" | "remove" | "update";

export interface MemberChange {
  readonly type: MemberChangeType;
  /** 0: the change was revoked by the layer above and does nothing. */
  readonly id: StoreId;
}

/**
 * A logged membership change. v1 changes one member; v2 several, by joint consensus where needed.
 * v2 without changes and with transition "auto" leaves a joint configuration.
 */
export type ConfChange =
  | { readonly kind: "v1"; readonly change: MemberChange; readonly context: Buffer }
  | {
      readonly kind: "v2";
      /** auto: joint only if more than one change, and left by itself. */
      readonly transition: "auto" | "jointImplicit" | "jointExplicit";
      readonly changes: readonly MemberChange[];
      readonly context: Buffer;
    };

/** Names a snapshot. Its bytes are the driver's business: they never pass through the core. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly membership: Membership;
}

interface Envelope {
  readonly from: StoreId;
  readonly to: StoreId;
  /** The sender's term; a pre-vote and its grant carry the term that is asked for. */
  readonly term: Term;
}

export interface AppendMessage extends Envelope {
  readonly kind: "append";
  readonly prevIndex: LogIndex;
  readonly prevTerm: Term;
  /** Consecutive, from prevIndex + 1 on. */
  readonly entries: readonly Entry[];
  readonly commit: LogIndex;
}

export interface AppendResponse extends Envelope {
  readonly kind: "appendResponse";
  /** Accepted: highest index known equal. Rejected: the prevIndex that did not match. */
  readonly index: LogIndex;
  readonly reject: boolean;
  /** With reject: a guess at the highest equal (index, term); see findConflictByTerm. */
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}

export interface VoteRequest extends Envelope {
  readonly kind: "vote" | "preVote";
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** Set when the leader asked for this election: leader stickiness does not apply. */
  readonly transfer: boolean;
}

export interface VoteResponse extends Envelope {
  readonly kind: "voteResponse" | "preVoteResponse";
  readonly reject: boolean;
}

export interface HeartbeatMessage extends Envelope {
  readonly kind: "heartbeat";
  /** At most what the receiver is known to have (thesis 10.2.1; FAULTS B15). */
  readonly commit: LogIndex;
  /** Number of the leader's newest read round; 0 = none. Comes back in the response. */
  readonly readRound: number;
}

export interface HeartbeatResponse extends Envelope {
  readonly kind: "heartbeatResponse";
  readonly readRound: number;
}

export interface SnapshotMessage extends Envelope {
  readonly kind: "snapshot";
  readonly snapshot: SnapshotMeta;
}

/** The leader asks `to` to start an election at once (thesis 3.10). */
export interface TimeoutNowMessage extends Envelope {
  readonly kind: "timeoutNow";
}

/** A follower passes on the wish that `target` shall lead. */
export interface TransferLeaderMessage extends Envelope {
  readonly kind: "transferLeader";
  readonly target: StoreId;
}

/** A follower passes a proposal on to its leader. Term 0: it is not bound to a term. */
export interface ProposeMessage extends Envelope {
  readonly kind: "propose";
  readonly entries: readonly { readonly type: EntryType; readonly data: Buffer }[];
}

/** A follower asks its leader for a read index. Term 0. */
export interface ReadIndexMessage extends Envelope {
  readonly kind: "readIndex";
  readonly requestId: number;
}

export interface ReadIndexResponse extends Envelope {
  readonly kind: "readIndexResponse";
  readonly index: LogIndex;
  readonly requestId: number;
}

/**
 * To the driver: write these, in the order of the messages, and deliver `responses` when they are
 * durable (sync needed only if mustSync, or with a snapshot).
 */
export interface StorageAppendMessage extends Envelope {
  readonly kind: "storageAppend";
  readonly entries: readonly Entry[];
  readonly hardState: HardState | null;
  readonly snapshot: SnapshotMeta | null;
  readonly mustSync: boolean;
  readonly responses: readonly Message[];
}

/** Back to the core: the log up to (index, logTerm) is durable; index 0: no entries meant. */
export interface StorageAppendResponse extends Envelope {
  readonly kind: "storageAppendResponse";
  readonly index: LogIndex;
  readonly logTerm: Term;
  readonly snapshot: SnapshotMeta | null;
}

/**
 * To the driver: apply these, in order, and deliver `responses` when that is done. Entries at or
 * below a snapshot that was installed meanwhile are skipped.
 */
export interface StorageApplyMessage extends Envelope {
  readonly kind: "storageApply";
  readonly entries: readonly Entry[];
  readonly responses: readonly Message[];
}

export interface StorageApplyResponse extends Envelope {
  readonly kind: "storageApplyResponse";
  readonly entries: readonly Entry[];
}

/** What travels between replicas (message-codec.ts). */
export type NetworkMessage =
  | AppendMessage
  | AppendResponse
  | VoteRequest
  | VoteResponse
  | HeartbeatMessage
  | HeartbeatResponse
  | SnapshotMessage
  | TimeoutNowMessage
  | TransferLeaderMessage
  | ProposeMessage
  | ReadIndexMessage
  | ReadIndexResponse;

/** What goes between a core and its own driver. */
export type StorageMessage =
  | StorageAppendMessage
  | StorageAppendResponse
  | StorageApplyMessage
  | StorageApplyResponse;

export type Message = NetworkMessage | StorageMessage;

/** A linearizable read: once `index` is applied here, the request may be served. */
export interface ReadState {
  readonly requestId: number;
  readonly index: LogIndex;
}

/**
 * Work for the driver.
 *
 * Without asyncStorageWrites: write hardState, entries and snapshot (sync if mustSync or if there
 * is a snapshot), then send messages, apply committedEntries, then call advance().
 * With asyncStorageWrites: only carry out `messages`; the storage ones repeat the other fields.
 */
export interface Ready {
  /** null = as before. */
  readonly softState: SoftState | null;
  readonly hardState: HardState | null;
  readonly readStates: readonly ReadState[];
  readonly entries: readonly Entry[];
  readonly snapshot: SnapshotMeta | null;
  readonly committedEntries: readonly Entry[];
  readonly messages: readonly Message[];
  readonly mustSync: boolean;
}

/**
 * The stable log, as the core reads it. Synchronous. The core asks only for what lies in its
 * bounds: first - 1 ≤ i ≤ last for terms, first ≤ lo < hi ≤ last + 1 for entries.
 * It must show what a storageAppend wrote from the moment its responses are stepped, at the latest.
 */
export interface LogReader {
  /** Read once, when the core is made. */
  initialState(): { readonly hardState: HardState; readonly membership: Membership };
  /** The entries lo..hi-1, cut so that their entrySize stays ≤ maxBytes; at least one. */
  entries(lo: LogIndex, hi: LogIndex, maxBytes: number): readonly Entry[];
  /** The term of entry i; also for firstIndex - 1, of which nothing else is left. */
  term(index: LogIndex): Term;
  /** First entry present; 1 for a new log. */
  firstIndex(): LogIndex;
  /** Last entry present; firstIndex - 1 if there is none. */
  lastIndex(): LogIndex;
  /** The newest snapshot that can be sent, at least firstIndex - 1; null: not at the moment. */
  snapshotMeta(): SnapshotMeta | null;
}

export interface RaftConfig {
  readonly id: StoreId;
  readonly log: LogReader;
  /** Applied by the driver before this start; 0 = nothing. */
  readonly appliedIndex: LogIndex;
  /** Election timeout at least, in ticks; the real one is random in electionTicks..2× - 1. */
  readonly electionTicks: number;
  /** What electionTicks grow to where leaders are silent at times (pace.ts). Default: they do not. */
  readonly electionTicksMax?: number;
  /** Ticks between heartbeats, < electionTicks. */
  readonly heartbeatTicks: number;
  /** Uniform integer 0..n-1. */
  readonly random: (n: number) => number;
  readonly asyncStorageWrites: boolean;
  readonly preVote: boolean;
  /** The leader steps down without a quorum heard; others ignore votes while they hear it. */
  readonly checkQuorum: boolean;
  /** Bytes of entries in one append, unless one entry is larger. */
  readonly maxSizePerMsg: number;
  /** Bytes of committed entries handed out and not yet applied. */
  readonly maxCommittedSizePerReady: number;
  /** Bytes of payload proposed and not yet applied here; more is dropped. */
  readonly maxUncommittedSize: number;
  /** Appends under way to one follower. */
  readonly maxInflightMsgs: number;
  readonly maxInflightBytes: number;
  /** lease needs checkQuorum, clocks that run alike, and election timeouts that do not grow. */
  readonly readOnly: "safe" | "lease";
  /** Followers do not pass proposals on. Default false. */
  readonly disableProposalForwarding?: boolean;
  /** Default false: refuse changes that are not possible now. */
  readonly disableConfChangeValidation?: boolean;
  /**
   * A leader that is removed or made a learner follows when that is applied. Default false: it leads
   * on, without voting or taking proposals, until transferLeadership. That is safer: followers that
   * do not know of the change yet may need the vote of the old leader, whose log may be longer.
   */
  readonly stepDownOnRemoval?: boolean;
  /** Rare events in words, for people. */
  readonly logger?: (text: string) => void;
}

export type ProposeOutcome =
  | { readonly kind: "accepted"; readonly index: LogIndex; readonly term: Term }
  | { readonly kind: "forwarded"; readonly to: StoreId }
  /** Not in the log: no leader known, leadership moves, too much uncommitted, or not a member. */
  | { readonly kind: "dropped"; readonly reason: string }
  /** A membership change that is not possible now; an empty entry stands in its place. */
  | { readonly kind: "refused"; readonly reason: string };

/**
 * ok; peerNotFound: a response of a replica that is no member; dropped: a forwarded proposal was
 * not taken; invalid: not a message that a replica may send (state unchanged).
 */
export type StepOutcome = "ok" | "peerNotFound" | "dropped" | "invalid";

export interface RaftStatus {
  readonly id: StoreId;
  readonly role: Role;
  readonly term: Term;
  readonly vote: StoreId;
  readonly leaderId: StoreId;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly membership: Membership;
  /** Whom leadership is being handed to; 0 = no one. */
  readonly transferee: StoreId;
  /** Sorted by id; empty unless this replica leads. */
  readonly progress: readonly ProgressStatus[];
}

/**
 * One replica's consensus state machine. Not re-entrant. All calls are synchronous and total;
 * InvariantError means a bug or lost data, after which the replica must not go on.
 */
export interface RaftNode {
  /** One unit of time has passed. */
  tick(): void;
  step(message: Message): StepOutcome;
  /** Offers an entry to the log. `data` is kept, not copied. */
  propose(data: Buffer): ProposeOutcome;
  proposeConfChange(change: ConfChange): ProposeOutcome;
  /** To be called for every applied entry that is a change; gives what is in force now. */
  applyConfChange(change: ConfChange): Membership;
  /**
   * Asks for an index that makes a read linearizable (thesis 6.4). The answer comes in
   * Ready.readStates, or never (the caller's deadline decides): ask again with a new id.
   * @returns false if it is certain that no answer will come
   */
  readIndex(requestId: number): boolean;
  /** Hands leadership to `target`; given up after an election timeout. */
  transferLeadership(target: StoreId): void;
  /** The leader is known to be gone: votes need not wait for the timeout. */
  forgetLeader(): void;
  /** A message to `id` was lost. */
  reportUnreachable(id: StoreId): void;
  /** A snapshot's transfer to `id` has ended. */
  reportSnapshot(id: StoreId, ok: boolean): void;
  /** Starts an election now (a pre-vote if configured). */
  campaign(): void;
  /** Replaces this round's random timeout; 1 or more ticks since the leader was last heard. */
  setElectionTimeout(ticks: number): void;
  hasReady(): boolean;
  /** Hands out all pending work. Without asyncStorageWrites: advance() before the next. */
  ready(): Ready;
  /** The last Ready is carried out. Only without asyncStorageWrites. */
  advance(): void;
  status(): RaftStatus;
  readonly id: StoreId;
  readonly role: Role;
  readonly term: Term;
  readonly leaderId: StoreId;
  /** Whom this leader is handing over to; 0 = no one. */
  readonly transferee: StoreId;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly membership: Membership;
}
