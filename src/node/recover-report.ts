/** What `quorumq recover` found and would do, in words for people. */
import { formatTime } from "../api/rfc3339.ts";
import type { StoreId } from "../base/brand.ts";
import type { GroupLook } from "../shard/force-group.ts";
import type { RebuildReport } from "../shard/rebuild.ts";
import { lossesOf, type Rebuilt, type RecoverShard } from "./recover-shard.ts";

export interface RecoverChoice {
  /** A damaged store goes on without what is damaged. */
  readonly acceptLoss: boolean;
  /** This node alone is the cluster from now on. */
  readonly forceNewCluster: boolean;
  /** Do it; else only say what would be done. */
  readonly yes: boolean;
}

export interface RecoverPlan {
  readonly root: string;
  readonly nodeId: string;
  readonly choice: RecoverChoice;
  /** What is wrong beside the shards, a line each. */
  readonly damages: readonly string[];
  readonly shards: readonly RecoverShard[];
}

/** @param asidePath - where what is not kept goes */
export function describePlan(plan: RecoverPlan, asidePath: string): readonly string[] {
  const { root, nodeId, choice, shards } = plan;
  const lines = [`data directory ${root} of node ${nodeId}`];
  for (const damage of plan.damages) lines.push(`damaged: ${damage}`);
  for (const shard of shards) lines.push(...describeShard(shard, choice));
  lines.push("");
  const isRebuilt = shards.some(({ rebuilt }) => rebuilt !== null);
  if (isRebuilt) {
    lines.push(
      "A damaged shard goes on with what is whole of it. What was acknowledged and is named above as",
      "lost is gone: tasks, results, or what happened to tasks, which may then be delivered again.",
      `The damaged stores, and the records that are not kept, go to ${asidePath}.`,
    );
  }
  if (choice.forceNewCluster) {
    lines.push(
      "This node alone is a new cluster from then on. What the others had acknowledged beyond its last",
      "entries is lost. They are strangers to it: never start them again with their data; empty them and",
      "add them as new members.",
    );
  }
  lines.push("Leases go on; lease tokens given from then on are higher than any before.");
  const done = "Nothing was changed. The same command with --yes does it.";
  return choice.yes ? lines : [...lines, "", done];
}

function describeShard(shard: RecoverShard, choice: RecoverChoice): readonly string[] {
  const name = `shard ${shard.shard}`;
  const lines: string[] = [];
  for (const damage of shard.damages) lines.push(`${name}: damaged: ${damage}`);
  if (shard.rebuilt) lines.push(...describeRebuilt(name, shard.rebuilt));
  else if (shard.look) lines.push(`${name}: whole, ${endOf(shard.look)}`);
  const group = shard.look ?? shard.rebuilt?.start ?? null;
  if (choice.forceNewCluster && group) lines.push(describeGroup(name, shard.storeId, group));
  return lines;
}

function endOf({ last, timeMs }: Pick<GroupLook, "last" | "timeMs">): string {
  const time = timeMs > 0 ? `, of ${formatTime(timeMs)}` : "";
  return `its log ends at entry ${last.index} of term ${last.term}${time}`;
}

function describeRebuilt(name: string, { report, asides }: Rebuilt): readonly string[] {
  const lines = [`${name}: kept: ${report.tasks} tasks in ${report.queues} queues`];
  const lost = [...lossesOf(report), ...lostEntries(report), ...lostInGaps(report)];
  // A row that is gone from the middle of a log file leaves nothing that could be counted.
  const rest = "and what else the damaged parts held, which nothing tells";
  lines.push(`${name}: lost: ${[...lost, rest].join("; ")}`);
  if (report.missingRows + report.strayRows > 0) {
    lines.push(
      `${name}: index rows made anew: ${report.missingRows}, dropped: ${report.strayRows}`,
    );
  }
  if (asides.length > 0) lines.push(`${name}: ${asides.length} records are not kept`);
  lines.push(`${name}: ${endOf(report)}`);
  return lines;
}

function lostEntries({ isPointLost, last, lastKnown }: RebuildReport): readonly string[] {
  if (isPointLost) return ["what was acknowledged in the last quarter of a second"];
  // The last kept one is the one that raises the tokens.
  const kept = last.index - 1;
  if (lastKnown <= kept) return [];
  return [`entries ${kept + 1} to ${lastKnown} of the log, and what came behind`];
}

function lostInGaps({ gaps }: RebuildReport): readonly string[] {
  const [first] = gaps;
  const last = gaps.at(-1);
  if (!first || !last) return [];
  const many = gaps.length > 1 ? `, ${gaps.length} gaps` : "";
  return [`what entries ${first.from} to ${last.to} of the log did${many}`];
}

function describeGroup(
  name: string,
  self: StoreId,
  { membership, members }: Pick<GroupLook, "membership" | "members">,
): string {
  const nameOf = (id: StoreId) =>
    members.find(({ storeId }) => storeId === id)?.nodeId ?? String(id);
  const named = (ids: readonly StoreId[]) => ids.map(nameOf).sort().join(", ");
  const isVoter = membership.voters.includes(self);
  const hint = isVoter ? "" : "; this node was none of them and may lack much";
  return `${name}: its voters were ${named(membership.voters)}${hint}`;
}
