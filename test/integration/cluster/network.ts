/** What can be done to the network of a cluster whose connections go through proxies. */
import { directions, type FaultProxy } from "../fault-proxy.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";

function proxyOf(cluster: Cluster, from: ClusterNode, to: ClusterNode): FaultProxy {
  const proxy = cluster.proxies.get(`${from.id}>${to.id}`);
  if (proxy === undefined) throw new Error(`no proxy from ${from.id} to ${to.id}`);
  return proxy;
}

/** From now on nothing that `from` sends reaches `to`; no connection is cut. */
export function silence(cluster: Cluster, from: ClusterNode, to: ClusterNode): void {
  proxyOf(cluster, from, to).silence("target");
  proxyOf(cluster, to, from).silence("dialler");
}

/** Nothing passes between the two. */
export function part(cluster: Cluster, a: ClusterNode, b: ClusterNode): void {
  silence(cluster, a, b);
  silence(cluster, b, a);
}

/** Everything between the two passes again, what was held back too. */
export function join(cluster: Cluster, a: ClusterNode, b: ClusterNode): void {
  proxyOf(cluster, a, b).heal();
  proxyOf(cluster, b, a).heal();
}

/** Leaves the links between neighbours of a row. */
export function chain(cluster: Cluster, row: readonly ClusterNode[]): void {
  for (const [i, a] of row.entries()) for (const b of row.slice(i + 2)) part(cluster, a, b);
}

export function healAll(cluster: Cluster): void {
  for (const proxy of cluster.proxies.values()) proxy.heal();
}

/** All lines between nodes are like this. */
export function setLines(cluster: Cluster, line: Parameters<FaultProxy["setLine"]>[0]): void {
  for (const proxy of cluster.proxies.values()) proxy.setLine(line, ...directions);
}

/** A new leader must be there within so many ms. */
const leaderlessMs = 3_000;

/** Waits until one of these leads. */
export function leadership(cluster: Cluster, of: readonly ClusterNode[]): Promise<ClusterNode> {
  const look = async () => {
    for (const node of of) {
      const [group] = await node.groups().catch(() => []);
      if (group?.isLeader) return node;
    }
    return null;
  };
  return cluster.until(`one of ${of.map(({ id }) => id).join()} leads`, look, leaderlessMs);
}
