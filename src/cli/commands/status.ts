/** `quorumq status`: nodes, shards, leaders and lag in one look. */
import { createHttpClient } from "../../client/http-client.ts";
import type { ClusterNode, RaftGroup, RaftStatus } from "../../client/http-cluster.ts";
import { cliExitCodes } from "../exit-codes.ts";
import type { Cell } from "../output.ts";
import type { Session } from "../session.ts";
import { age } from "./queue.ts";

/** Entries behind from which a follower counts as lagging: some are always on their way. */
const lagEntries = 1000;

/** @returns 0, or 1 when something is wrong: a node is away, a shard has no leader or lags */
export async function runStatus(session: Session): Promise<number> {
  const { output, terminal } = session;
  const http = await session.http();
  // first of all somebody who answers: the others ask the same node
  const { nodes, leader } = await http.clusterNodes();
  const [{ isReady, reason }, { enabled, groups }] = await Promise.all([
    http.ready(),
    askAll(session, nodes),
  ]);
  const problems = problemsOf(nodes, groups);
  if (!isReady) problems.unshift(`the asked node is not ready: ${reason ?? "no reason given"}`);
  const value = { ok: problems.length === 0, problems, leader, nodes, raft: enabled, groups };
  output.answer(value, () => [
    output.table(nodeHead, nodes.map(nodeRow)),
    "",
    output.table(groupHead, groups.map(groupRow)),
    ...(problems.length === 0 ? [] : [""]),
    ...problems.map((problem) => terminal.style("red", problem)),
  ]);
  return problems.length === 0 ? cliExitCodes.ok : cliExitCodes.failed;
}

/** A node that does not answer may not hold up the others. */
const nodeMs = 2000;

/** Each shard as its leader knows it, which alone knows how far the others are. */
async function askAll(session: Session, nodes: readonly ClusterNode[]): Promise<RaftStatus> {
  const { token } = await session.connection();
  const { effects } = session;
  const clients = nodes
    .filter(({ reachable, http }) => reachable && http !== "")
    .map(({ http }) => createHttpClient({ endpoints: http, token, timeoutMs: nodeMs, effects }));
  const first = await (await session.http()).raftStatus();
  const others = await Promise.allSettled(clients.map((client) => client.raftStatus()));
  const best = new Map(first.groups.map((group) => [group.shard, group]));
  for (const answer of others) {
    if (answer.status === "rejected") continue; // gone meanwhile: the first answer stands
    for (const group of answer.value.groups) {
      const known = best.get(group.shard);
      const isNewer = known === undefined || group.term >= known.term;
      if (isNewer && group.isLeader) best.set(group.shard, group);
      else if (known === undefined) best.set(group.shard, group);
    }
  }
  return { ...first, groups: [...best.values()].sort((a, b) => a.shard - b.shard) };
}

/** What an operator is to look at, in words. */
export function problemsOf(nodes: readonly ClusterNode[], groups: readonly RaftGroup[]): string[] {
  const problems: string[] = [];
  for (const { id, reachable } of nodes)
    if (!reachable) problems.push(`node ${id} is not reachable`);
  for (const group of groups) {
    if (group.leaderId === "") problems.push(`shard ${group.shard} has no leader`);
    for (const { id, matchIndex } of group.followers) {
      const lag = group.lastIndex - matchIndex;
      if (lag > lagEntries) problems.push(`shard ${group.shard}: ${id} is ${lag} entries behind`);
    }
  }
  return problems;
}

export const nodeHead = [
  "NODE",
  "REACHABLE",
  "LEADS SHARDS",
  "HTTP",
  "GRPC",
  "LAST CONTACT",
  "VERSION",
];

export function nodeRow(node: ClusterNode): readonly Cell[] {
  const leads = node.shardsLed.length === 0 ? "-" : shardsText(node.shardsLed);
  const { id, reachable, http, grpc, version } = node;
  return [id, reachable ? "yes" : "no", leads, http, grpc, age(node.lastContactMs), version];
}

/** 0-3,7 */
function shardsText(shards: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < shards.length; ) {
    let to = i;
    while (shards[to + 1] === (shards[to] ?? 0) + 1) to++;
    parts.push(to === i ? `${shards[i]}` : `${shards[i]}-${shards[to]}`);
    i = to + 1;
  }
  return parts.join(",");
}

const groupHead = ["SHARD", "LEADER", "TERM", "COMMIT", "APPLIED", "VOTERS", "LEARNERS", "BEHIND"];

function groupRow(group: RaftGroup): readonly Cell[] {
  const { shard, leaderId, term, commitIndex, appliedIndex, voters, learners } = group;
  const behind = group.followers
    .map(({ id, matchIndex }) => `${id}:${Math.max(0, group.lastIndex - matchIndex)}`)
    .join(" ");
  const leader = leaderId === "" ? "none" : leaderId;
  return [
    shard,
    leader,
    term,
    commitIndex,
    appliedIndex,
    voters.join(" "),
    learners.join(" "),
    behind,
  ];
}
