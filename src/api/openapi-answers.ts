/** What answers look like, for the description of the API: schemas with an example each. */
import Type from "typebox";
import { errorCodes } from "../base/errors.ts";
import { taskStates } from "../base/task-state.ts";
import { queueNamePattern } from "./schema.ts";

const id = "01890a5d-ac96-774b-bcce-b30209900000";
const time = "2026-03-05T08:09:10.011Z";

function text(description: string) {
  return Type.String({ description });
}

function moment(description: string) {
  return Type.String({ format: "date-time", description });
}

function count(description: string) {
  return Type.Integer({ minimum: 0, description });
}

function choice(values: readonly string[], description: string) {
  return Type.Unsafe<string>({ type: "string", enum: values, description });
}

const taskId = Type.String({ format: "uuid", description: "UUID of version 7, or 8 with a key" });
const anyJson = Type.Unsafe<unknown>({ description: "The JSON value as it was sent" });
const queueName = Type.String({ pattern: queueNamePattern });

export const exampleTask = {
  id,
  command: "mail",
  payload: { to: "ada@example.org" },
  priority: 0,
  state: "leased",
  status: "IN_PROGRESS",
  attempts: 1,
  maxAttempts: 5,
  workerId: "sender-1",
  leaseUntil: "2026-03-05T08:14:10.011Z",
  leaseToken: "4096",
  tenantId: "acme",
  createdAt: time,
  updatedAt: time,
};

const exampleResult = {
  taskId: id,
  status: "COMPLETED",
  result: { sent: true },
  completedAt: time,
};

const exampleQueue = {
  command: "mail",
  ready: 12,
  delayed: 0,
  leased: 3,
  dead: 1,
  paused: false,
  oldestReadyAgeMs: 140,
  createdPerSecond: 25.5,
  settledPerSecond: 24,
};

const exampleError = {
  error: "priority must be <= 9",
  code: "invalid_argument",
  requestId: "1f2e3d4c-7",
  field: "priority",
};

const exampleCursor = "AVx1Yb0u4gx1AYkKXayWd0u8zrMCCZAAAA";

function ref(name: string) {
  return Type.Unsafe<unknown>({ $ref: `#/components/schemas/${name}` });
}

const queueFields = {
  command: queueName,
  ready: count("Tasks that can be claimed now"),
  delayed: count("Tasks that wait for their time"),
  leased: count("Tasks that a worker holds"),
  dead: count("Tasks that used up their attempts"),
  paused: Type.Boolean({ description: "Nothing is claimed from it" }),
  oldestReadyAgeMs: count("How long the oldest ready task is ready; 0 if none is"),
  createdPerSecond: Type.Number({ description: "Mean of the last seconds" }),
  settledPerSecond: Type.Number({ description: "Mean of the last seconds" }),
};

const error = Type.Object(
  {
    error: text("For people: says what broke which rule"),
    code: choice(Object.keys(errorCodes), "For programs: the one thing to match"),
    requestId: text("Under which the log tells of this request"),
    field: Type.Optional(text("The field, header or parameter that broke the rule")),
    leader: Type.Optional(text("not_leader: URL of the node that leads the shard")),
    shard: Type.Optional(Type.Integer({ description: "not_leader: the shard" })),
  },
  { examples: [exampleError] },
);

const itemError = Type.Object({
  error: text("Why this item failed"),
  code: choice(Object.keys(errorCodes), "As in an error's body"),
  field: Type.Optional(text("Where in the request")),
});

/** By name; `Error` is the body of everything from 400 on, and of a redirect. */
export const answerSchemas = {
  Error: error,
  ItemError: itemError,
  Task: Type.Object(
    {
      id: taskId,
      command: queueName,
      payload: Type.Optional(anyJson),
      payloadBase64: Type.Optional(text("Instead of payload where that is no JSON (from gRPC)")),
      priority: Type.Integer({ minimum: 0, maximum: 9 }),
      state: choice(taskStates, "Where it is in its life"),
      status: choice(["PENDING", "IN_PROGRESS", "COMPLETED", "FAILED"], "codeQ's word for it"),
      attempts: count("Claims so far"),
      maxAttempts: Type.Integer({ minimum: 1 }),
      workerId: Type.Optional(text("Who claimed it last")),
      leaseUntil: Type.Optional(moment("When the lease ends")),
      leaseToken: Type.Optional(text("Shows that a claim is the latest one; only grows")),
      runAt: Type.Optional(moment("Until when it is delayed")),
      error: Type.Optional(text("What went wrong last")),
      tenantId: text("Whose it is"),
      createdAt: moment("When it was made"),
      updatedAt: moment("When it changed last"),
      webhook: Type.Optional(text("As it was given")),
      traceParent: Type.Optional(text("As it was given")),
      traceState: Type.Optional(text("As it was given")),
      duplicate: Type.Optional(Type.Boolean({ description: "A create that was repeated" })),
    },
    { examples: [exampleTask] },
  ),
  Result: Type.Object(
    {
      taskId,
      status: choice(["COMPLETED", "FAILED"], "How it ended"),
      result: Type.Optional(anyJson),
      resultBase64: Type.Optional(text("Instead of result where that is no JSON (from gRPC)")),
      error: Type.Optional(text("Why it failed")),
      completedAt: moment("When it ended"),
    },
    { examples: [exampleResult] },
  ),
  CreateResults: Type.Object(
    {
      results: Type.Array(Type.Union([Type.Object({ task: ref("Task") }), ref("ItemError")]), {
        description: "In the order of the request",
      }),
    },
    { examples: [{ results: [{ task: exampleTask }] }] },
  ),
  TaskList: Type.Object(
    { tasks: Type.Array(ref("Task")) },
    { examples: [{ tasks: [exampleTask] }] },
  ),
  TaskPage: Type.Object(
    {
      tasks: Type.Array(ref("Task"), { description: "By id; may be none though there are more" }),
      cursor: Type.Optional(text("For the next page; absent on the last one")),
    },
    { examples: [{ tasks: [exampleTask], cursor: exampleCursor }] },
  ),
  Heartbeat: Type.Object(
    { ok: Type.Boolean(), leaseUntil: moment("The lease's new end") },
    { examples: [{ ok: true, leaseUntil: time }] },
  ),
  Abandoned: Type.Object(
    { status: choice(["requeued"], "It is ready again") },
    { examples: [{ status: "requeued" }] },
  ),
  Nacked: Type.Object(
    {
      status: choice(["requeued", "dlq"], "dlq: it used up its attempts and is dead"),
      delaySeconds: Type.Number({ description: "Until it is ready again" }),
    },
    { examples: [{ status: "requeued", delaySeconds: 4.25 }] },
  ),
  SettleResults: Type.Object(
    {
      results: Type.Array(
        Type.Union([
          Type.Object({ taskId: text("Of the item"), result: ref("Result") }),
          Type.Intersect([Type.Object({ taskId: text("Of the item") }), ref("ItemError")]),
        ]),
        { description: "In the order of the request" },
      ),
    },
    { examples: [{ results: [{ taskId: id, result: exampleResult }] }] },
  ),
  TaskResult: Type.Object(
    {
      task: ref("Task"),
      result: Type.Union([ref("Result"), Type.Null()], { description: "null: not ended yet" }),
    },
    { examples: [{ task: exampleTask, result: null }] },
  ),
  Queue: Type.Object(
    { ...queueFields, inProgress: count("As leased"), dlq: count("As dead") },
    { examples: [{ ...exampleQueue, inProgress: 3, dlq: 1 }] },
  ),
  QueuePage: Type.Object(
    {
      queues: Type.Array(Type.Object(queueFields), { description: "By name" }),
      cursor: Type.Optional(text("For the next page; absent on the last one")),
    },
    { examples: [{ queues: [exampleQueue] }] },
  ),
  Redriven: Type.Object(
    { redriven: count("Tasks that are ready again"), more: more() },
    { examples: [{ redriven: 17 }] },
  ),
  Purged: Type.Object(
    { purged: count("Tasks that are gone"), more: more() },
    { examples: [{ purged: 1000 }] },
  ),
  Membership: Type.Object(
    { voters: Type.Array(Type.String()), learners: Type.Array(Type.String()) },
    { examples: [{ voters: ["n1", "n2", "n3"], learners: [] }] },
  ),
  Paused: Type.Object({ paused: Type.Boolean() }, { examples: [{ paused: true }] }),
  CleanedUp: Type.Object(
    {
      deleted: count("Tasks that are gone"),
      before: moment("As asked for, or now"),
      limit: count("As asked for, or the default"),
      more: more(),
    },
    { examples: [{ deleted: 250, before: time, limit: 1000 }] },
  ),
  RaftStatus: Type.Object({
    enabled: Type.Boolean(),
    numGroups: count("Shards"),
    groups: Type.Array(
      Type.Object({
        shardIdx: count("Number of the shard"),
        isLeader: Type.Boolean({ description: "This node leads it" }),
        selfId: text("This node"),
        leaderId: text("The leader, or empty"),
        leaderHTTPAddr: text("Its URL, or empty"),
        hasLeader: Type.Boolean(),
        term: count("Raft term"),
        commitIndex: count("Raft commit index"),
        appliedIndex: count("Raft applied index"),
        lastIndex: count("Last entry of this node's log"),
        voters: Type.Array(text("Node")),
        learners: Type.Array(text("Node")),
        followers: Type.Array(
          Type.Object({
            id: text("Node"),
            matchIndex: count("Last entry it is known to have"),
            lastContactMs: Type.Number({ description: "Ms since it was heard of" }),
          }),
          { description: "On the leader: what it knows of the others" },
        ),
      }),
    ),
  }),
  ClusterNodes: Type.Object({
    nodes: Type.Array(
      Type.Object({
        id: text("Node"),
        is_leader: Type.Boolean({ description: "Leads any shard" }),
        address: text("host:port for the other nodes, or empty"),
        http: text("URL for clients"),
        grpc: text("host:port for clients"),
        reachable: Type.Boolean(),
        last_contact_ms: Type.Number({ description: "Ms since it was heard of" }),
        version: text("Of its program"),
        shards_led: Type.Array(count("Number of a shard")),
      }),
    ),
    leader: text("Who leads shard 0, or empty"),
  }),
  Health: Type.Object({
    status: text("ok or unavailable"),
    node_id: text("This node"),
    is_leader: Type.Boolean({ description: "Leads any shard" }),
    uptime_seconds: count("Since its start"),
    shards: Type.Array(
      Type.Object({
        shard: count("Number of the shard"),
        role: choice(["follower", "pre-candidate", "candidate", "leader"], "Of this node in it"),
        term: count("Raft term"),
        leader_id: text("The leader, or empty"),
        commit: count("Raft commit index"),
        applied: count("Raft applied index"),
        lag: count("Committed entries that are not applied here"),
      }),
    ),
  }),
  Status: Type.Object(
    { status: text("In a word"), reason: Type.Optional(text("Why not")) },
    { examples: [{ status: "ok" }] },
  ),
};

export type AnswerName = keyof typeof answerSchemas;

function more() {
  const description = "true: it took too long and stopped; call again for the rest";
  return Type.Optional(Type.Boolean({ description }));
}
