/** Every route of the API, for its description. The edge asserts at start that none is missing. */
import { limits } from "../base/limits.ts";
import { taskStates } from "../base/task-state.ts";
import type { AnswerName } from "./openapi-answers.ts";
import { type BodySchemas, queueNamePattern } from "./schema.ts";

export interface RouteDescription {
  readonly method: "get" | "post" | "delete";
  /** Parameters in braces. */
  readonly path: string;
  readonly id: string;
  readonly tag: "tasks" | "workers" | "admin" | "cluster" | "health";
  readonly summary: string;
  /** Whose token it takes; none = no token. */
  readonly who: "producer" | "worker" | "admin" | "any" | "none";
  /** Under /v1 and /v1/codeq, or at the root, or both. */
  readonly at: "v1" | "root" | "both";
  readonly body?: { readonly schema: keyof BodySchemas; readonly example: unknown };
  readonly query?: readonly QueryParameter[];
  readonly answers: Readonly<Record<number, readonly [AnswerName | "text" | null, string]>>;
}

export interface QueryParameter {
  readonly name: string;
  readonly description: string;
  readonly schema: unknown;
}

const token = "4096";
const completed = { status: "COMPLETED", result: { sent: true }, leaseToken: token };
const create = { command: "mail", payload: { to: "ada@example.org" }, priority: 5 };

const consistency: QueryParameter = {
  name: "consistency",
  description:
    "stale: from this node's own state, at once; leader: only from the leader (307 elsewhere)",
  schema: { type: "string", enum: ["stale", "leader"] },
};
const cursor: QueryParameter = {
  name: "cursor",
  description: "From the page before; belongs to its tenant and filter",
  schema: { type: "string" },
};

function limit(standard: number): QueryParameter {
  return {
    name: "limit",
    description: "Entries of a page at the most",
    schema: { type: "integer", minimum: 1, maximum: limits.listPage, default: standard },
  };
}

function seconds(name: string, maximum: number, description: string): QueryParameter {
  return { name, description, schema: { type: "integer", minimum: 0, maximum, default: 0 } };
}

const tasks: readonly RouteDescription[] = [
  {
    method: "post",
    path: "/tasks",
    id: "createTask",
    tag: "tasks",
    summary: "Create a task; it is on disk when the answer comes",
    who: "producer",
    at: "v1",
    body: { schema: "create", example: create },
    answers: { 202: ["Task", "The task; with a key that was used before, as it is now"] },
  },
  {
    method: "post",
    path: "/tasks/batch",
    id: "createTasks",
    tag: "tasks",
    summary: "Create up to 1,000 tasks, each with its own answer",
    who: "producer",
    at: "v1",
    body: { schema: "createBatch", example: { tasks: [create] } },
    answers: { 200: ["CreateResults", "One answer per task"] },
  },
  {
    method: "get",
    path: "/tasks",
    id: "listTasks",
    tag: "tasks",
    summary: "List tasks by id",
    who: "any",
    at: "v1",
    query: [
      { name: "state", description: "Only these", schema: { type: "string", enum: taskStates } },
      {
        name: "command",
        description: "Only of this queue",
        schema: { type: "string", pattern: queueNamePattern },
      },
      limit(100),
      cursor,
    ],
    answers: { 200: ["TaskPage", "A page"] },
  },
  {
    method: "get",
    path: "/tasks/{id}",
    id: "getTask",
    tag: "tasks",
    summary: "Look at a task",
    who: "any",
    at: "v1",
    query: [consistency],
    answers: { 200: ["Task", "The task as it is now"] },
  },
  {
    method: "get",
    path: "/tasks/{id}/result",
    id: "getResult",
    tag: "tasks",
    summary: "Look at how a task ended, and wait for it if wanted",
    who: "any",
    at: "v1",
    query: [
      seconds("waitSeconds", limits.resultWaitSecondsMax, "How long to wait for its end"),
      consistency,
    ],
    answers: { 200: ["TaskResult", "The task and its result, null if it has not ended"] },
  },
  {
    method: "post",
    path: "/tasks/{id}/cancel",
    id: "cancelTask",
    tag: "tasks",
    summary: "Cancel a task; the worker that holds it loses its lease",
    who: "producer",
    at: "v1",
    body: { schema: "empty", example: {} },
    answers: { 200: ["Task", "The task, canceled"] },
  },
];

const workers: readonly RouteDescription[] = [
  {
    method: "post",
    path: "/tasks/claim",
    id: "claimTask",
    tag: "workers",
    summary: "Claim a task under a lease",
    who: "worker",
    at: "v1",
    body: { schema: "claim", example: { commands: ["mail"], waitSeconds: 10, leaseSeconds: 60 } },
    answers: { 200: ["Task", "The claimed task"], 204: [null, "No task was ready in time"] },
  },
  {
    method: "post",
    path: "/tasks/claim/batch",
    id: "claimTasks",
    tag: "workers",
    summary: "Claim several tasks",
    who: "worker",
    at: "v1",
    body: { schema: "claimBatch", example: { commands: ["mail"], count: 100, waitSeconds: 10 } },
    answers: { 200: ["TaskList", "The claimed tasks"], 204: [null, "No task was ready in time"] },
  },
  {
    method: "post",
    path: "/tasks/{id}/heartbeat",
    id: "extendLease",
    tag: "workers",
    summary: "Set the end of a lease anew",
    who: "worker",
    at: "v1",
    body: { schema: "heartbeat", example: { extendSeconds: 60, leaseToken: token } },
    answers: { 200: ["Heartbeat", "The lease's new end"] },
  },
  {
    method: "post",
    path: "/tasks/{id}/abandon",
    id: "abandonTask",
    tag: "workers",
    summary: "Hand a task back unharmed: its attempt does not count",
    who: "worker",
    at: "v1",
    body: { schema: "abandon", example: { leaseToken: token } },
    answers: { 200: ["Abandoned", "It is ready again"] },
  },
  {
    method: "post",
    path: "/tasks/{id}/nack",
    id: "nackTask",
    tag: "workers",
    summary: "Hand a task back as not done: it is tried again, or dead",
    who: "worker",
    at: "v1",
    body: { schema: "nack", example: { delaySeconds: 2.5, reason: "busy", leaseToken: token } },
    answers: { 200: ["Nacked", "What becomes of it"] },
  },
  {
    method: "post",
    path: "/tasks/{id}/result",
    id: "settleTask",
    tag: "workers",
    summary: "End a task, done or failed",
    who: "worker",
    at: "v1",
    body: { schema: "result", example: completed },
    answers: { 200: ["Result", "The result as it is kept"] },
  },
  {
    method: "post",
    path: "/tasks/batch/results",
    id: "settleTasks",
    tag: "workers",
    summary: "End up to 1,000 tasks, each with its own answer",
    who: "worker",
    at: "v1",
    body: {
      schema: "resultBatch",
      example: { results: [{ taskId: "01890a5d-ac96-774b-bcce-b30209900000", ...completed }] },
    },
    answers: { 200: ["SettleResults", "One answer per result"] },
  },
];

const admin: readonly RouteDescription[] = [
  {
    method: "post",
    path: "/admin/members",
    id: "addMember",
    tag: "admin",
    summary: "Take a node into the cluster: a learner first, a voter once it has caught up",
    who: "admin",
    at: "v1",
    body: { schema: "member", example: { id: "n4", raft: "10.0.0.4:7000" } },
    answers: { 200: ["Membership", "The membership after the change"] },
  },
  {
    method: "delete",
    path: "/admin/members/{id}",
    id: "removeMember",
    tag: "admin",
    summary: "Remove a node from the cluster, the leader too",
    who: "admin",
    at: "v1",
    answers: { 200: ["Membership", "The membership after the change"] },
  },
  {
    method: "post",
    path: "/admin/leader/transfer",
    id: "transferLeader",
    tag: "admin",
    summary: "Hand leadership over, of one shard or of all that the target does not lead",
    who: "admin",
    at: "v1",
    body: { schema: "transfer", example: { to: "n2" } },
    answers: { 200: ["Membership", "The membership, as it was"] },
  },
  {
    method: "get",
    path: "/admin/queues",
    id: "listQueues",
    tag: "admin",
    summary: "List the tenant's queues by name",
    who: "admin",
    at: "v1",
    query: [limit(limits.listPage), cursor],
    answers: { 200: ["QueuePage", "A page"] },
  },
  {
    method: "get",
    path: "/admin/queues/{command}",
    id: "getQueue",
    tag: "admin",
    summary: "Look at a queue; one that nobody used shows zeros",
    who: "admin",
    at: "v1",
    answers: { 200: ["Queue", "The queue as it is now"] },
  },
  {
    method: "post",
    path: "/admin/queues/{command}/redrive",
    id: "redriveQueue",
    tag: "admin",
    summary: "Make dead tasks ready again, with no attempts",
    who: "admin",
    at: "v1",
    body: { schema: "redrive", example: { limit: 1000 } },
    answers: { 200: ["Redriven", "How many"] },
  },
  {
    method: "post",
    path: "/admin/queues/{command}/purge",
    id: "purgeQueue",
    tag: "admin",
    summary: "Remove tasks for good: states or ids says which",
    who: "admin",
    at: "v1",
    body: { schema: "purge", example: { states: ["dead"], limit: 1000 } },
    answers: { 200: ["Purged", "How many"] },
  },
  {
    method: "post",
    path: "/admin/queues/{command}/pause",
    id: "pauseQueue",
    tag: "admin",
    summary: "Let nothing be claimed from a queue",
    who: "admin",
    at: "v1",
    body: { schema: "empty", example: {} },
    answers: { 200: ["Paused", "The queue is paused"] },
  },
  {
    method: "post",
    path: "/admin/queues/{command}/resume",
    id: "resumeQueue",
    tag: "admin",
    summary: "End a pause",
    who: "admin",
    at: "v1",
    body: { schema: "empty", example: {} },
    answers: { 200: ["Paused", "The queue is not paused"] },
  },
  {
    method: "post",
    path: "/admin/tasks/cleanup",
    id: "cleanUp",
    tag: "admin",
    summary: "Remove ended tasks whose retention ends before a time",
    who: "admin",
    at: "v1",
    body: { schema: "cleanup", example: { before: "2026-03-06T00:00:00Z", limit: 1000 } },
    answers: { 200: ["CleanedUp", "How many"] },
  },
];

const cluster: readonly RouteDescription[] = [
  {
    method: "get",
    path: "/raft/status",
    id: "getRaftStatus",
    tag: "cluster",
    summary: "Look at the Raft groups as this node sees them",
    who: "any",
    at: "v1",
    answers: { 200: ["RaftStatus", "One group per shard"] },
  },
  {
    method: "get",
    path: "/cluster/nodes",
    id: "getNodes",
    tag: "cluster",
    summary: "Look at the nodes of the cluster",
    who: "none",
    at: "both",
    answers: { 200: ["ClusterNodes", "The nodes as this one sees them"] },
  },
];

function healthRoute(path: string, id: string, summary: string): RouteDescription {
  const answers = { 200: ["Status", "Yes"], 503: ["Status", "No"] } as const;
  return { method: "get", path, id, tag: "health", summary, who: "none", at: "root", answers };
}

const health: readonly RouteDescription[] = [
  healthRoute("/livez", "isAlive", "Whether the process runs"),
  healthRoute("/readyz", "isReady", "Whether the node serves"),
  healthRoute("/healthz", "isHealthy", "Whether the node serves, in a word"),
  {
    ...healthRoute("/health", "getHealth", "Look at the node and its shards"),
    answers: { 200: ["Health", "The node as it is now"] },
  },
  {
    ...healthRoute("/metrics", "getMetrics", "Metrics in Prometheus' text format"),
    answers: { 200: ["text", "One scrape"] },
  },
  {
    ...healthRoute("/openapi.json", "getDescription", "This description"),
    answers: { 200: [null, "OpenAPI 3.1"] },
  },
];

export const routeDescriptions: readonly RouteDescription[] = [
  ...tasks,
  ...workers,
  ...admin,
  ...cluster,
  ...health,
];
