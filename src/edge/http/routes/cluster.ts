/** What the cluster looks like from here: GET /raft/status and /cluster/nodes. */
import type { FastifyInstance } from "fastify";
import type { RaftGroup } from "../../../router/admin.ts";
import { type HttpContext, sendJson } from "../context.ts";
import { get, type RouteSet } from "../routing.ts";

export function addRaftStatus(routes: RouteSet): void {
  get(routes, {
    path: "/raft/status",
    role: "any",
    handle: ({ reply }) => {
      const { enabled, groups } = routes.context.deps.admin.raftStatus();
      const body = { enabled, numGroups: groups.length, groups: groups.map(groupFields) };
      sendJson(reply, 200, JSON.stringify(body));
    },
  });
}

function groupFields(group: RaftGroup) {
  return {
    shardIdx: group.shard,
    isLeader: group.isLeader,
    selfId: group.selfId,
    leaderId: group.leaderId,
    leaderHTTPAddr: group.leaderHttp,
    hasLeader: group.leaderId !== "",
    term: group.term,
    commitIndex: group.commitIndex,
    appliedIndex: group.appliedIndex,
    lastIndex: group.lastIndex,
    voters: group.voters,
    learners: group.learners,
    followers: group.followers,
  };
}

/** Without a token: clients look for the leader before they have asked anything. */
export function addClusterNodes(app: FastifyInstance, context: HttpContext, prefix: string): void {
  app.get(`${prefix}/cluster/nodes`, (_request, reply) => {
    const { nodes, leader } = context.deps.admin.clusterNodes();
    const shown = nodes.map((node) => ({
      id: node.id,
      is_leader: node.isLeader,
      address: node.address,
      http: node.http,
      grpc: node.grpc,
      reachable: node.reachable,
      last_contact_ms: node.lastContactMs,
      version: node.version,
      shards_led: node.shardsLed,
    }));
    sendJson(reply, 200, JSON.stringify({ nodes: shown, leader }));
  });
}
