/**
 * Bugs that others had (B numbers) or that this code could have, as changes of a line or two. Each one
 * must be found by the simulator, with seeds drawn at random and no checker that names it.
 */
import type { Planted } from "./planted.ts";
import { queueBugs } from "./queue-bugs.ts";
import { storageBugs } from "./storage-bugs.ts";

// Not planted, and why:
// B5, B6    cost elections and time, and break no promise; seeds have too many faults of their own
//           for elections to be counted.
// B9        a candidate asks once in each of its terms, and the first answer to it counts.
// B23, B32, B33, B40, B62    are about memory, real time and real directories: tests of processes.
// B25, B26  a state is taken into a store of its own, that the replica begins anew with: nothing of
//           its log, or of a checkpoint of its own, is left. One that is refused is sent again.
// B37       a membership is in force when it is applied: there is nothing to take back.
// B38, B39  each store, and each group, has a name that nobody had before.
// B43, B47  the server does not read by lease.
// B50       has the defence of B49; B54: nothing happens outside of the log yet.

const raft = "src/raft";
const shard = "src/shard";
const queue = "src/queue";

export const planted: readonly Planted[] = [
  {
    id: "B1",
    what: "term and vote are not written before the vote is sent",
    file: `${shard}/append-writer.ts`,
    find: "const votes = hardState && (hardState.term !== saved.term || hardState.vote !== saved.vote);",
    put: "const votes = hardState && hardState.term < saved.term;",
  },
  {
    id: "B2",
    what: "a replica votes again in a term in which it has voted",
    file: `${raft}/election.ts`,
    find: "    (core.vote === NO_ONE && core.leaderId === NO_ONE) ||",
    put: "    core.leaderId === NO_ONE ||",
  },
  {
    id: "B8",
    what: "whoever asks for a vote with a shorter log gets it",
    file: `${raft}/election.ts`,
    find: "const isGranted = canVote && core.log.isUpToDate(lastIndex, lastTerm);",
    put: "const isGranted = canVote && lastTerm >= 0;",
  },
  {
    id: "B13",
    what: "an entry of an earlier term is committed by counting replicas",
    file: `${raft}/log.ts`,
    find: "if (index <= this.committed || term === 0 || !this.matchTerm(index, term)) return false;",
    put: "if (index <= this.committed || term === 0) return false;",
  },
  {
    id: "B14",
    what: "a late or repeated append truncates entries that match",
    file: `${raft}/log.ts`,
    find: "if (at >= 0) this.append(at === 0 ? entries : entries.slice(at));",
    put: "if (entries.length > 0 || at >= 0) this.append(entries);",
  },
  // That an append which fits commits no further than it reaches cannot be seen to matter: a leader
  // finds the place where the logs part exactly, so that no stale tail is left behind what fits.
  {
    id: "B15",
    what: "an append that does not fit raises the commit index",
    file: `${raft}/log.ts`,
    find: "if (!this.matchTerm(prevIndex, prevTerm)) return undefined;",
    put: "if (!this.matchTerm(prevIndex, prevTerm)) {\n      this.commitTo(Math.min(commit, this.lastIndex()) as LogIndex);\n      return undefined;\n    }",
  },
  {
    id: "B15b",
    what: "a heartbeat carries the leader's commit index, whatever the follower has",
    file: `${raft}/replication.ts`,
    find: "const commit = Math.min(progress.match, core.log.committed) as LogIndex;",
    put: "const commit = core.log.committed;",
  },
  {
    id: "B16",
    what: "logs are said to match at prev whatever its term",
    file: `${raft}/log.ts`,
    find: "if (!this.matchTerm(prevIndex, prevTerm)) return undefined;",
    put: "if (this.term(prevIndex) === undefined) return undefined;",
  },
  {
    id: "B18",
    what: "acknowledgements leave before the entries are on disk",
    file: `${shard}/append-writer.ts`,
    find: "const pending: Pending = { entriesDone: !last, voteDone: !votes, responses, last };",
    put: "const pending: Pending = { entriesDone: true, voteDone: !votes, responses, last };\n    queueMicrotask(() => this.deliver());",
  },
  // A leader cannot send from a log that is cut: it has no term to send for what stands before. And
  // a follower asks no cut log: it compares with the commit index first, which is never behind the cut.
  {
    id: "B17",
    what: "an append from before what is committed counts as a conflict: it replaces all behind that",
    file: `${raft}/replication.ts`,
    find: "  if (prevIndex < core.log.committed) {\n",
    put: "  if (prevIndex < core.log.committed) {\n    core.log.append(message.entries.filter(({ index }) => index > core.log.committed));\n",
  },
  {
    id: "B21",
    what: "a write is acknowledged although its sync failed",
    file: "src/storage/group-commit.ts",
    find: "    await batch.write();\n",
    put: "    await batch.write().catch(() => undefined);\n",
  },
  {
    id: "B24",
    what: "an older state is installed over a newer log",
    file: `${shard}/consensus.ts`,
    find: "if (index <= this.raft.commitIndex) return true;",
    put: "if (index <= this.raft.commitIndex) return false;",
  },
  {
    id: "B28",
    what: "a leader never sends the state again after a transfer failed",
    file: `${raft}/leader.ts`,
    find: 'if (progress?.state !== "snapshot") return;',
    put: 'if (progress?.state !== "snapshot" || !ok) return;',
  },
  {
    id: "B31",
    what: "the applied index on disk is one behind its rows: an entry is applied twice",
    file: `${shard}/checkpoint.ts`,
    find: "  out.u64(applied.index);\n  out.u64(applied.term);\n  out.u48",
    put: "  out.u64(Math.max(2, applied.index - 1));\n  out.u64(applied.term);\n  out.u48",
  },
  {
    id: "B31b",
    what: "the applied index on disk is one ahead of its rows: an entry is skipped",
    file: `${shard}/checkpointer.ts`,
    find: "    putCheckpoint(state, batch, applied, generation, this.scratch);",
    put: "    if (generation % 3 > 0) putCheckpoint(state, batch, applied, generation, this.scratch);\n    else state.dirtyRuns = [];",
  },
  {
    id: "B44",
    what: "a replica answers reads without asking a quorum",
    file: `${shard}/consensus.ts`,
    find: "return isAlone && this.deps.serves() ? Promise.resolve() : this.reads.wait();",
    put: "return isAlone || this.deps.serves() || this.leaderId > 0 ? Promise.resolve() : this.reads.wait();",
  },
  {
    id: "B45",
    what: "a leader answers reads before it knows what earlier ones committed",
    file: `${raft}/read-index.ts`,
    find: "  if (!hasCommittedInTerm(core)) {",
    put: "  if (core.log.committed === 0) {",
  },
  {
    id: "B42",
    what: "a hand-over that fails is never given up",
    file: `${raft}/raft.ts`,
    find: 'if (core.role === "leader") core.transferee = NO_ONE;',
    put: 'if (core.role !== "leader") core.transferee = NO_ONE;',
  },
  {
    id: "B41",
    what: "leadership is handed to a replica that lacks entries, which takes it without asking",
    file: `${raft}/election.ts`,
    find: "  const result = jointVoteResult(voters, votersOutgoing, core.voteOf);\n",
    put: '  const result = core.role === "candidate" ? "won" : jointVoteResult(voters, votersOutgoing, core.voteOf);\n',
  },
  {
    id: "B49",
    what: "a settle with an old lease token is taken",
    file: `${queue}/settle.ts`,
    find: "if (reader.token !== 0) return run.get(col.TOKEN, place) === reader.token ? 0 : leaseLost;",
    put: "if (reader.token !== 0) return run.get(col.TOKEN, place) >= reader.token ? 0 : leaseLost;",
  },
  {
    id: "B51",
    what: "a claimed task can be claimed again by the next claim",
    world: "node",
    file: `${queue}/claim.ts`,
    find: "  segment.from = (pick.places[count - 1] as number) + 1;\n",
    put: "  if (count > 3) for (const p of pick.places) run.set(col.STATE, p, taskState.ready);\n",
  },
  {
    id: "B55",
    what: "a claim is not counted as an attempt",
    world: "node",
    file: `${queue}/claim.ts`,
    find: "    run.set(col.ATTEMPTS, place, attempt);\n",
    put: "    if (i === 0) run.set(col.ATTEMPTS, place, attempt);\n",
  },
  {
    id: "B60",
    what: "a repeated create with a key is refused: its maker never hears of the task",
    file: `${queue}/create.ts`,
    find: "if (existing && command.requestHash !== null) return repeated(existing, command);",
    put: "if (existing && command.requestHash === null) return repeated(existing, command);",
  },
  {
    id: "B59",
    what: "a follower keeps its own clock, however wrong it is",
    file: `${shard}/leader-clock.ts`,
    find: "      time = monotonic + heard.offset(timeMs, term, monotonic);",
    put: "      time = clock.wallMs();",
  },
  {
    id: "B61",
    what: "the back-off is drawn by each replica for itself",
    file: `${queue}/backoff.ts`,
    find: "  const exponential = Math.min(base * 2 ** Math.min(attempts - 1, 50), cap);",
    put: "  const exponential = Math.min(base * 2 ** Math.min(attempts - 1, 50), cap) + Math.floor(Math.random() * 50);",
  },
  {
    id: "B65",
    what: "heartbeats that share a frame are all taken for the first group's",
    file: `${shard}/peer-link.ts`,
    find: "      const group = input.u32();\n      this.deliver(from, group, input.sized());",
    put: "      const group = input.u32() * 0;\n      this.deliver(from, group, input.sized());",
  },
  {
    id: "B20",
    what: "a write's end marks entries that have replaced the written ones",
    file: `${raft}/unstable.ts`,
    find: "if (index < this.offset || this.term(index) !== term) return;",
    put: "if (index < this.offset || this.term(index) === undefined) return;",
  },
  // A log that is kept with a received state does no harm: its entries are the leader's.
  {
    id: "P1",
    what: "a start takes the whole log for committed",
    file: `${shard}/log-store.ts`,
    find: "const commit = toLogIndex(Math.max(applied, Math.min(last, await readCommit(kv))));",
    put: "const commit = toLogIndex(Math.max(last, await readCommit(kv)));",
  },
  // Entries that others still need may be cut: they are given the whole state.
  {
    id: "P2",
    what: "a log is cut one entry further than the rows go",
    file: `${shard}/log-store.ts`,
    find: "const to = Math.min(appliedIndex, Math.max(neededFrom - 1, this.tooOld(keepBytes)));",
    put: "const to = Math.min(appliedIndex + 1, Math.max(neededFrom - 1, this.tooOld(keepBytes)));",
  },
  {
    id: "P3",
    what: "an entry of another leader is taken for the one proposed here",
    file: `${shard}/proposals.ts`,
    find: "if (proposal.term === entry.term) return proposal.sinks;",
    put: "if (proposal.term <= entry.term) return proposal.sinks;",
  },
  {
    id: "P4",
    what: "a nack is answered, and the lease goes on",
    file: `${queue}/settle.ts`,
    find: "        this.keepResult(place, index, reader.errorTo > reader.errorFrom);\n",
    put: "        if (reader.ms >= 0) return;\n",
  },
  // Elections
  {
    id: "B3",
    what: "a restart remembers its term, and forgets whom it voted for",
    file: `${shard}/log-store.ts`,
    find: "const known = vote.term < lastTerm ? { term: lastTerm, vote: NO_ONE } : vote;",
    put: "const known = { term: vote.term < lastTerm ? lastTerm : vote.term, vote: NO_ONE };",
  },
  {
    id: "B4",
    what: "a granted pre-vote counts as the vote of the term",
    file: `${raft}/election.ts`,
    find: "  if (isGranted && !isPreVote) {\n",
    put: "  if (isGranted) {\n",
  },
  {
    id: "B7",
    what: "a leader that no quorum hears leads on",
    file: `${raft}/raft.ts`,
    find: "    if (core.config.checkQuorum) checkQuorum(core);\n",
    put: "    if (!core.config.checkQuorum) checkQuorum(core);\n",
  },
  {
    id: "B10",
    what: "a learner stands for election",
    file: `${raft}/core.ts`,
    find: "return own !== undefined && !own.isLearner && this.log.unstable.snapshot === null;",
    put: "return own !== undefined && this.log.unstable.snapshot === null;",
  },
  {
    id: "B10b",
    what: "learners count for a commit",
    file: `${raft}/replication.ts`,
    find: "  const index = jointCommittedIndex(voters, votersOutgoing, core.matchOf);\n",
    put: "  const all = [...voters, ...core.membership.learners];\n  const index = jointCommittedIndex(all, votersOutgoing, core.matchOf);\n",
  },
  {
    id: "B12",
    what: "a leader that restarts leads on in its old term",
    file: `${raft}/core.ts`,
    find: "    this.becomeFollower(this.term, NO_ONE);\n  }\n\n  get isLearner",
    put: '    this.becomeFollower(this.term, NO_ONE);\n    if (this.vote !== this.id) return;\n    this.role = "leader";\n    this.leaderId = this.id;\n  }\n\n  get isLearner',
  },
  // Replication
  {
    id: "B19",
    what: "a leader counts itself before its own write ends",
    file: `${raft}/replication.ts`,
    find: "  core.acknowledge(core.id, index);\n",
    put: "  core.acknowledge(core.id, index);\n  core.ownProgress()?.maybeUpdate(index);\n",
  },
  {
    id: "B22",
    what: "an old rejection takes next back behind what is known to match",
    file: `${raft}/progress.ts`,
    find: "      if (rejected <= this.match) return false;\n      // The optimistic appends since then are lost too: begin again from what is certain.\n      this.next = this.match + 1;",
    put: "      this.next = Math.max(Math.min(rejected, matchHint + 1), 1);",
  },
  // Membership
  {
    id: "B35",
    what: "members are changed before an entry of the leader's term is committed",
    file: `${shard}/membership.ts`,
    find: "    return this.waiting.size > 0 || isJoint || !this.isProven;\n",
    put: "    return this.waiting.size > 0 || isJoint;\n",
    also: [
      {
        file: `${shard}/consensus.ts`,
        find: "      serves: deps.serves,\n",
        put: '      serves: () => raft.role === "leader",\n',
      },
    ],
  },
  {
    id: "B36",
    what: "a second change of the members is logged while one is pending",
    file: `${shard}/membership.ts`,
    find: "    return this.waiting.size > 0 || isJoint || !this.isProven;\n",
    put: "    return isJoint;\n",
    also: [
      {
        file: `${raft}/membership.ts`,
        find: "  if (core.pendingConfIndex > core.log.applied) {\n",
        put: "  if (core.pendingConfIndex < 0) {\n",
      },
    ],
  },
  // Reads
  {
    id: "B46",
    what: "the question for a read's index has the same number again and again",
    file: `${shard}/read-barrier.ts`,
    find: "    this.deps.ask(++this.requestId);\n",
    put: "    this.deps.ask(this.requestId);\n",
  },
  {
    id: "B48",
    what: "a follower answers from what it has applied, and asks nobody",
    file: "src/router/task-reads.ts",
    find: '    if (consistency !== "stale") await shard.consensus.readBarrier();\n',
    put: '    if (consistency !== "stale" && shard.leads) await shard.consensus.readBarrier();\n',
  },
  ...storageBugs,
  ...queueBugs,
];
