/**
 * What consensus promises (Raft paper, figure 3; thesis 3 and 4), looked at after every event, over
 * all replicas of a group and all their processes.
 */
import type { LogIndex, ShardId, StoreId } from "../../../src/base/brand.ts";
import type { Core } from "../../../src/raft/core.ts";
import type { RaftLog } from "../../../src/raft/log.ts";
import type { Entry, Membership, NetworkMessage, RaftNode, Role } from "../../../src/raft/types.ts";
import { decodeReplicaMessage, shardFrames } from "../../../src/shard/replica-frames.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { must } from "../violation.ts";
import { isStored, storedVote } from "./on-disk.ts";
import type { SimNode } from "./sim-node.ts";

/** Terms are small here: index and term as one number. */
const termsMax = 1_000_000;
/** A group's founding stands for its first entry. */
const foundingIndex = 1;
/** Where the kind of a Raft message stands in its frame, behind the head and a version. */
const kindAt = 15;
const answerKinds = { append: 1, vote: 3 } as const;

interface Known {
  readonly entry: Entry;
  readonly prevTerm: number | undefined;
}

interface Committed {
  /** undefined: it was committed and cut within one event. */
  readonly term: number | undefined;
  /** Of the replica that was seen first to know of it: not below the one it was committed in. */
  readonly byTerm: number;
}

/** A replica as it was after the last event. */
interface Seen {
  term: number;
  role: Role;
  commit: number;
  lastIndex: number;
  lastTerm: number;
  /** As far as the core takes its log for durable. */
  stableIndex: number;
  /** Of the entries firstIndex .. lastIndex. */
  terms: number[];
  firstIndex: number;
  membership: Membership;
}

/** The core behind the interface that its driver has. */
export function coreOf(node: RaftNode): Core {
  return (node as unknown as { core: Core }).core;
}

export class RaftWatch {
  private readonly groups: readonly Group[];
  private readonly nodes: readonly SimNode[];

  constructor(nodes: readonly SimNode[], shards: readonly ShardId[]) {
    this.nodes = nodes;
    this.groups = shards.map((shard) => new Group(shard, nodes));
  }

  /** To be called after every event. */
  look(): void {
    for (const node of this.nodes) {
      for (const shard of node.shards) if (shard) this.groups[shard.id]?.look(node, shard);
    }
  }

  /** A frame is on its way to another node. */
  sent(from: StoreId, group: number, type: number, body: Buffer): void {
    if (type !== shardFrames.raft) return;
    const kind = body[kindAt];
    if (kind !== answerKinds.append && kind !== answerKinds.vote) return;
    const node = this.nodes.find(({ storeId }) => storeId === from);
    if (node) this.groups[group]?.sent(node, decodeReplicaMessage(body).message);
  }

  hasLeader(shard: ShardId): boolean {
    return (this.groups[shard]?.leaders.size ?? 0) > 0;
  }

  get leaders(): number {
    return this.groups.reduce((sum, { leaders }) => sum + leaders.size, 0);
  }
}

class Group {
  /** Names by term. */
  readonly leaders = new Map<number, string>();
  private readonly shard: ShardId;
  private readonly nodes: readonly SimNode[];
  /** By term and voter. */
  private readonly votes = new Map<string, StoreId>();
  private readonly seen = new WeakMap<Shard, Seen>();
  private readonly entries = new Map<number, Known>();
  /** By store: the newest entry that was acknowledged, and in which term. */
  private readonly acknowledged = new Map<
    StoreId,
    { readonly term: number; readonly index: number }
  >();
  /** By store: what its last start found to be committed. */
  private readonly starts = new Map<StoreId, number>();
  /** From the founding on. */
  private readonly committed: Committed[] = [{ term: 1, byTerm: 1 }];

  constructor(shard: ShardId, nodes: readonly SimNode[]) {
    this.shard = shard;
    this.nodes = nodes;
  }

  look(node: SimNode, shard: Shard): void {
    const core = coreOf(shard.consensus.raft);
    const { log, term, role } = core;
    const lastIndex = log.lastIndex();
    const lastTerm = log.lastTerm();
    const stableIndex = log.unstable.offset - 1;
    let seen = this.seen.get(shard);
    if (!seen) {
      this.lookAtStart(node, core);
      seen = newcomer(log.firstIndex(), core.membership);
      this.seen.set(shard, seen);
    } else if (
      seen.commit === log.committed &&
      seen.lastIndex === lastIndex &&
      seen.lastTerm === lastTerm &&
      seen.stableIndex === stableIndex &&
      seen.term === term &&
      seen.role === role
    ) {
      return;
    }
    must(term >= seen.term, "a replica's term does not fall", node.name, seen.term, term);
    this.lookAtLog(node, core, seen);
    if (stableIndex !== seen.stableIndex) this.lookAtDisk(node, core, stableIndex);
    if (role === "leader") this.lookAtLeader(node, core);
    if (log.committed !== seen.commit) this.lookAtCommit(node, core, seen);
    seen.membership = core.membership;
    Object.assign(seen, { term, role, commit: log.committed, lastIndex, lastTerm, stableIndex });
  }

  /** A replica begins anew, after a crash or from a state that it was given. */
  private lookAtStart(node: SimNode, { id, log }: Core): void {
    const name = `${node.name}/${this.shard}`;
    const before = this.starts.get(id) ?? 0;
    must(log.committed >= before, "a start finds what the last one found", name, log.committed);
    this.starts.set(id, log.committed);
  }

  /** What the core does not wait for any more has been written. */
  private lookAtDisk(node: SimNode, { log }: Core, index: number): void {
    if (index <= foundingIndex) return;
    const holds = isStored(node, this.shard, index, log.term(index));
    must(holds, "what counts as durable is on the disk", `${node.name}/${this.shard}`, index);
  }

  /** Log matching; and that a leader only appends. */
  private lookAtLog(node: SimNode, { id, log, term, role }: Core, seen: Seen): void {
    const known = this.acknowledged.get(id);
    const keeps = known?.term !== term || known.index <= log.lastIndex();
    must(keeps, "what is acknowledged in a term stays in it", node.name, known?.index, term);
    let same = Math.min(seen.lastIndex, log.lastIndex());
    while (same >= seen.firstIndex && seen.terms[same - seen.firstIndex] !== log.term(same)) same--;
    const leadsOn = role === "leader" && seen.role === "leader" && seen.term === term;
    must(!leadsOn || same >= seen.lastIndex, "a leader only appends", node.name, same);
    must(same >= seen.commit || seen.commit === 0, "what is committed stays", node.name, same);
    const from = Math.max(same + 1, log.firstIndex());
    seen.terms.length = Math.max(0, same + 1 - seen.firstIndex);
    if (from > log.lastIndex()) return;
    // What was cut before it was looked at: an entry that is not kept is not compared.
    if (seen.firstIndex + seen.terms.length !== from) {
      seen.firstIndex = from;
      seen.terms = [];
    }
    for (const entry of this.entriesOf(log, from, log.lastIndex())) {
      this.compare(node, entry, log.term(entry.index - 1));
      seen.terms.push(entry.term);
    }
  }

  private compare(node: SimNode, entry: Entry, prevTerm: number | undefined): void {
    const name = entry.index * termsMax + entry.term;
    const known = this.entries.get(name);
    if (!known) {
      this.entries.set(name, { entry, prevTerm });
      return;
    }
    const isSame = known.entry.type === entry.type && known.entry.data.equals(entry.data);
    const follows = (known.prevTerm ?? prevTerm) === (prevTerm ?? known.prevTerm);
    must(isSame && follows, "logs match", `${node.name}/${this.shard}`, entry.index, entry.term);
  }

  /** Election safety, and leader completeness: it has what was committed in earlier terms. */
  private lookAtLeader(node: SimNode, { term, log }: Core): void {
    const known = this.leaders.get(term);
    const name = `${this.shard}/${term}`;
    must(
      known === undefined || known === node.name,
      "one leader in a term",
      name,
      known,
      node.name,
    );
    if (known !== undefined) return;
    this.leaders.set(term, node.name);
    let at = this.committed.length - 1;
    while (at > 0 && (this.committed[at] as Committed).byTerm >= term) at--;
    const index = foundingIndex + at;
    const found = log.term(index);
    const expected = this.committed[at]?.term;
    must(
      index < log.firstIndex() || expected === undefined || found === expected,
      "a leader has all that was committed before its term",
      `${name} ${node.name}`,
      index,
      found,
    );
  }

  /** State machine safety: one entry for each committed index, on the disks of a majority. */
  private lookAtCommit(node: SimNode, core: Core, seen: Seen): void {
    const { log, term, role } = core;
    const name = `${node.name}/${this.shard}`;
    must(log.committed >= seen.commit, "a commit index does not fall", name, log.committed);
    const next = foundingIndex + this.committed.length;
    if (log.committed < next) {
      const expected = this.committed[log.committed - foundingIndex]?.term;
      const found = log.term(log.committed);
      const isSame = found === undefined || expected === undefined || found === expected;
      must(isSame || log.committed === 0, "one entry is committed at an index", name, found);
      return;
    }
    for (let index = next; index <= log.committed; index++) {
      this.committed.push({ term: log.term(index), byTerm: term });
    }
    const leadsOn = role === "leader" && seen.role === "leader" && seen.term === term;
    const last = log.term(log.committed);
    must(!leadsOn || last === term, "a leader commits by an entry of its term", name, last, term);
    // A change that was committed with the entry may be in force already.
    const isSafe = [core.membership, seen.membership].some((one) => this.isOnDisks(one, log));
    must(isSafe, "what is committed is on a majority's disks", name, log.committed, last);
  }

  private isOnDisks({ voters, votersOutgoing }: Membership, log: RaftLog): boolean {
    const holds = (id: StoreId) => {
      const node = this.nodes.find(({ storeId }) => storeId === id);
      // A store that is lost, or whose process is away, may have had it.
      return !node || isStored(node, this.shard, log.committed, log.term(log.committed));
    };
    return [voters, votersOutgoing].every(
      (half) => half.length === 0 || half.filter(holds).length > half.length / 2,
    );
  }

  /** One vote in a term; and whatever a vote or an acknowledgement vouches for is durable. */
  sent(node: SimNode, message: NetworkMessage): void {
    const { kind, term, from, to } = message;
    const name = `${node.name}/${this.shard}`;
    if (kind === "voteResponse" && !message.reject) {
      const known = this.votes.get(`${term} ${from}`) ?? to;
      must(known === to, "one vote in a term", name, term, known, to);
      this.votes.set(`${term} ${from}`, to);
      const stored = storedVote(node, this.shard);
      const isThere = stored.term > term || (stored.term === term && stored.vote === to);
      must(isThere, "a vote is durable before it is told", name, term, stored.term);
    }
    // What was overwritten in a newer term before its write ended is told to a leader of the past:
    // whoever elected the new one has either left that term or had nothing that the new one lacks.
    const isOfNow = term >= (node.shards[this.shard]?.consensus.raft.term ?? 0);
    const vouches = kind === "appendResponse" && !message.reject && isOfNow;
    if (vouches && message.index > foundingIndex) {
      const holds = isStored(node, this.shard, message.index);
      must(holds, "entries are durable before they are acknowledged", name, message.index);
      const known = this.acknowledged.get(from);
      const isNews = !known || term > known.term || message.index > known.index;
      if (isNews) this.acknowledged.set(from, { term, index: message.index });
    }
  }

  private entriesOf(log: RaftLog, from: number, to: number): readonly Entry[] {
    const entries = log.slice(from as LogIndex, (to + 1) as LogIndex, Number.POSITIVE_INFINITY);
    must(entries !== undefined && entries.length === to + 1 - from, "a log has no gap", from, to);
    return entries;
  }
}

function newcomer(firstIndex: number, membership: Membership): Seen {
  return {
    ...{ term: 0, role: "follower", commit: 0, lastIndex: firstIndex - 1, lastTerm: 0 },
    ...{ stableIndex: 0, terms: [], firstIndex, membership },
  };
}
