/** Cores, messages and Readys in the words that the transcripts use. */
import type { StoreId } from "../../src/base/brand.ts";
import { decodeConfChange } from "../../src/raft/conf-change-codec.ts";
import type { ProgressStatus } from "../../src/raft/progress-status.ts";
import {
  type ConfChange,
  type Entry,
  type HardState,
  LOCAL_APPEND,
  LOCAL_APPLY,
  type MemberChange,
  type MemberChangeType,
  type Membership,
  type Message,
  type Ready,
  type Role,
  type SnapshotMeta,
} from "../../src/raft/types.ts";
import { CommandError } from "./datadriven.ts";

const roles: Record<Role, string> = {
  follower: "StateFollower",
  "pre-candidate": "StatePreCandidate",
  candidate: "StateCandidate",
  leader: "StateLeader",
};

const states = { probe: "StateProbe", replicate: "StateReplicate", snapshot: "StateSnapshot" };

const entryTypes = {
  normal: "EntryNormal",
  confChange: "EntryConfChange",
  confChangeV2: "EntryConfChangeV2",
};

const messageTypes: Record<Message["kind"], string> = {
  append: "MsgApp",
  appendResponse: "MsgAppResp",
  vote: "MsgVote",
  voteResponse: "MsgVoteResp",
  preVote: "MsgPreVote",
  preVoteResponse: "MsgPreVoteResp",
  heartbeat: "MsgHeartbeat",
  heartbeatResponse: "MsgHeartbeatResp",
  snapshot: "MsgSnap",
  timeoutNow: "MsgTimeoutNow",
  transferLeader: "MsgTransferLeader",
  propose: "MsgProp",
  readIndex: "MsgReadIndex",
  readIndexResponse: "MsgReadIndexResp",
  storageAppend: "MsgStorageAppend",
  storageAppendResponse: "MsgStorageAppendResp",
  storageApply: "MsgStorageApply",
  storageApplyResponse: "MsgStorageApplyResp",
};

const changeLetters: Record<MemberChangeType, string> = {
  addVoter: "v",
  addLearner: "l",
  remove: "r",
  update: "u",
};

export function messageTypeName(message: Message): string {
  return messageTypes[message.kind];
}

export function describeRole(role: Role): string {
  return roles[role];
}

export function isMessageTypeName(name: string): boolean {
  return Object.values(messageTypes).includes(name);
}

/** `v1 l2 r3 u4` */
export function parseChanges(text: string): MemberChange[] {
  const words = text.split(/\s+/).filter((word) => word !== "");
  return words.map((word) => {
    const [letter, digits] = [word.slice(0, 1), word.slice(1)];
    if (digits === "") throw new CommandError(`unknown token ${word}`);
    const found = Object.entries(changeLetters).find(([, known]) => known === letter);
    if (found === undefined) throw new CommandError(`unknown input: ${word}`);
    if (!/^\d+$/.test(digits)) {
      throw new CommandError(`strconv.ParseUint: parsing ${quote(digits)}: invalid syntax`);
    }
    return { type: found[0] as MemberChangeType, id: Number(digits) as StoreId };
  });
}

export function describeChange(change: ConfChange): string {
  const changes = change.kind === "v1" ? [change.change] : change.changes;
  return changes.map(({ type, id }) => changeLetters[type] + id).join(" ");
}

export function describeMembership(membership: Membership): string {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = membership;
  const parts = [`voters=(${voters.join(" ")})`];
  if (votersOutgoing.length > 0) parts[0] += `&&(${votersOutgoing.join(" ")})`;
  if (learners.length > 0) parts.push(`learners=(${learners.join(" ")})`);
  if (learnersNext.length > 0) parts.push(`learners_next=(${learnersNext.join(" ")})`);
  if (autoLeave) parts.push("autoleave");
  return parts.join(" ");
}

export function describeProgress(progress: ProgressStatus): string {
  let text = `${progress.id}: ${states[progress.state]}`;
  text += ` match=${progress.match} next=${progress.next}`;
  if (progress.isLearner) text += " learner";
  if (progress.isPaused) text += " paused";
  if (progress.pendingSnapshot > 0) text += ` pendingSnap=${progress.pendingSnapshot}`;
  if (!progress.recentActive) text += " inactive";
  if (progress.inflightMsgs > 0) text += ` inflight=${progress.inflightMsgs}`;
  if (progress.inflightMsgs > 0 && progress.inflightFull) text += "[full]";
  return text;
}

const escapes: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\u000b": "\\v",
  '"': '\\"',
  "\\": "\\\\",
};

/** In double quotes, as Go's %q. */
export function quote(data: Buffer | string): string {
  const text = data.toString().replace(/["\\\p{Cc}]/gu, (char) => {
    const code = char.codePointAt(0) ?? 0;
    return escapes[char] ?? `\\x${code.toString(16).padStart(2, "0")}`;
  });
  return `"${text}"`;
}

export function describeEntry(entry: Pick<Entry, "type" | "data"> & Partial<Entry>): string {
  const head = `${entry.term ?? 0}/${entry.index ?? 0} ${entryTypes[entry.type]}`;
  if (entry.type === "normal") return `${head} ${quote(entry.data)}`;
  return `${head} ${describeChange(decodeConfChange(entry.data))}`.trimEnd();
}

function describeSnapshot(snapshot: SnapshotMeta): string {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = snapshot.membership;
  return (
    `Index:${snapshot.index} Term:${snapshot.term} ConfState:Voters:[${voters.join(" ")}]` +
    ` VotersOutgoing:[${votersOutgoing.join(" ")}] Learners:[${learners.join(" ")}]` +
    ` LearnersNext:[${learnersNext.join(" ")}] AutoLeave:${autoLeave}`
  );
}

function describeTarget(id: StoreId): string {
  if (id === LOCAL_APPEND) return "AppendThread";
  return id === LOCAL_APPLY ? "ApplyThread" : String(id);
}

function describeHardState({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === 0 ? "" : ` Vote:${vote}`} Commit:${commit}`;
}

/** Term and index of the log that a message speaks of. */
function logPosition(message: Message): readonly [number, number] {
  switch (message.kind) {
    case "append":
      return [message.prevTerm, message.prevIndex];
    case "appendResponse":
      return [message.hintTerm, message.index];
    case "vote":
    case "preVote":
      return [message.lastTerm, message.lastIndex];
    case "storageAppendResponse":
      return [message.logTerm, message.index];
    case "readIndexResponse":
      return [0, message.index];
    default:
      return [0, 0];
  }
}

/** A wish for another leader is written as if the target had sent it. */
export function senderOf(message: Message): StoreId {
  return message.kind === "transferLeader" ? message.target : message.from;
}

export function describeMessage(message: Message, indent = ""): string {
  const from = senderOf(message);
  const [logTerm, index] = logPosition(message);
  let text = `${indent}${describeTarget(from)}->${describeTarget(message.to)} `;
  text += `${messageTypes[message.kind]} Term:${message.term} Log:${logTerm}/${index}`;
  if ("reject" in message && message.reject) {
    text += ` Rejected (Hint: ${message.kind === "appendResponse" ? message.hintIndex : 0})`;
  }
  const commit = "commit" in message ? message.commit : hardStateOf(message)?.commit;
  if (commit !== undefined && commit !== 0) text += ` Commit:${commit}`;
  const vote = hardStateOf(message)?.vote ?? 0;
  if (vote !== 0) text += ` Vote:${vote}`;
  const entries = "entries" in message ? message.entries : [];
  if (entries.length === 1) text += ` Entries:[${entries.map(describeEntry).join("")}]`;
  else if (entries.length > 1) {
    const lines = entries.map((entry) => `\n${indent}  ${describeEntry(entry)}`);
    text += ` Entries:[${lines.join("")}\n${indent}]`;
  }
  const snapshot = "snapshot" in message ? message.snapshot : null;
  if (snapshot !== null) text += `\n${indent}  Snapshot: ${describeSnapshot(snapshot)}`;
  if ("responses" in message && message.responses.length > 0) {
    const lines = message.responses.map((each) => `\n${describeMessage(each, `${indent}  `)}`);
    text += ` Responses:[${lines.join("")}\n${indent}]`;
  }
  return text;
}

function hardStateOf(message: Message): HardState | undefined {
  return message.kind === "storageAppend" ? (message.hardState ?? undefined) : undefined;
}

export function describeReady(ready: Ready): string[] {
  const lines: string[] = [];
  const { softState, hardState, readStates, entries, snapshot, committedEntries } = ready;
  if (softState !== null) lines.push(`Lead:${softState.leaderId} State:${roles[softState.role]}`);
  if (hardState !== null) lines.push(`HardState ${describeHardState(hardState)}`);
  if (readStates.length > 0) {
    const states = readStates.map((read) => `{${read.index} ${read.requestId}}`);
    lines.push(`ReadStates [${states.join(" ")}]`);
  }
  if (entries.length > 0) lines.push("Entries:", ...entries.map(describeEntry));
  if (snapshot !== null) lines.push(`Snapshot ${describeSnapshot(snapshot)}`);
  if (committedEntries.length > 0) {
    lines.push("CommittedEntries:", ...committedEntries.map(describeEntry));
  }
  if (ready.messages.length > 0) {
    lines.push("Messages:");
    for (const message of ready.messages) lines.push(...describeMessage(message).split("\n"));
  }
  if (lines.length === 0) return ["<empty Ready>"];
  return [`Ready MustSync=${ready.mustSync}:`, ...lines];
}
