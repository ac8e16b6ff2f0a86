/** An operator's actions on the members of a cluster. */
import assert from "node:assert/strict";
import type { Cluster, ClusterNode } from "./cluster.ts";

export async function addMember(via: ClusterNode, node: ClusterNode): Promise<void> {
  const answer = await fetch(`${via.url}/v1/admin/members`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ id: node.id, raft: `127.0.0.1:${node.raftPort}` }),
  });
  assert.equal(answer.status, 200, await answer.text());
}

export async function removeMember(via: ClusterNode, id: string): Promise<void> {
  const answer = await fetch(`${via.url}/v1/admin/members/${id}`, { method: "DELETE" });
  assert.equal(answer.status, 200, await answer.text());
}

/** Waits until every shard has these voters and no learner. */
export async function votersAre(
  cluster: Cluster,
  via: ClusterNode,
  ids: readonly string[],
): Promise<void> {
  const wanted = [...ids].sort().join();
  await cluster.until(`voters ${wanted}`, async () => {
    const groups = await via.groups().catch(() => []);
    const isSo = (group: (typeof groups)[0]) =>
      [...group.voters].sort().join() === wanted && group.learners.length === 0;
    return groups.length > 0 && groups.every(isSo) ? true : null;
  });
}
