/** The nodes of a cluster and their health, over HTTP. */
import { QuorumQError } from "./errors.ts";
import { bodyText } from "./http-body.ts";
import { fieldOf, isTrue, list, maybeText, number, text } from "./http-json.ts";
import { type CallOptions, errorOf, type HttpRequester } from "./http-request.ts";
import { parseUrls } from "./http-urls.ts";

/** A shard's Raft group, as the asked node knows it. */
export interface RaftGroup {
  readonly shard: number;
  /** The asked node. */
  readonly selfId: string;
  readonly isLeader: boolean;
  /** "" = none at the moment */
  readonly leaderId: string;
  readonly leaderHttp: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly voters: readonly string[];
  readonly learners: readonly string[];
  /** What a leader knows of the others; empty on the others. */
  readonly followers: readonly {
    readonly id: string;
    readonly matchIndex: number;
    readonly lastContactMs: number;
  }[];
}

export interface RaftStatus {
  /** Whether the node runs with `raft.enabled`. */
  readonly enabled: boolean;
  readonly groups: readonly RaftGroup[];
}

export interface ClusterNode {
  readonly id: string;
  /** Leads any shard. */
  readonly isLeader: boolean;
  /** host:port for the other nodes, or "". */
  readonly address: string;
  /** URL and host:port for clients, or "". */
  readonly http: string;
  readonly grpc: string;
  readonly reachable: boolean;
  /** Ms since the asked node heard of it. */
  readonly lastContactMs: number;
  /** Of its program; "" while unknown. */
  readonly version: string;
  readonly shardsLed: readonly number[];
}

export interface ClusterNodes {
  readonly nodes: readonly ClusterNode[];
  /** Who leads shard 0; "" = nobody at the moment. */
  readonly leader: string;
}

export interface Membership {
  readonly voters: readonly string[];
  readonly learners: readonly string[];
}

export interface NewMember {
  /** Its name: `raft.selfId`. */
  readonly id: string;
  /** host:port where it listens for the other nodes. */
  readonly raft: string;
  /** URL and host:port where clients find it. */
  readonly http?: string;
  readonly grpc?: string;
}

export interface ShardHealth {
  readonly shard: number;
  readonly role: "follower" | "pre-candidate" | "candidate" | "leader";
  readonly term: number;
  readonly leaderId: string;
  readonly commit: number;
  readonly applied: number;
  /** Committed entries that are not applied there. */
  readonly lag: number;
}

export interface NodeHealth {
  readonly isReady: boolean;
  readonly nodeId: string;
  readonly isLeader: boolean;
  readonly uptimeSeconds: number;
  readonly shards: readonly ShardHealth[];
}

export interface NodeOptions extends CallOptions {
  /** Base URL of the node to ask; default the one that answered last. It gets no token. */
  readonly endpoint?: string;
}

export interface HttpCluster {
  /** The Raft groups, as the node that answers knows them. */
  raftStatus(options?: CallOptions): Promise<RaftStatus>;
  clusterNodes(options?: CallOptions): Promise<ClusterNodes>;
  /**
   * What one node says of itself, whether it can serve or not.
   * @throws QuorumQError draining: it can not be reached; timeout
   */
  health(options?: NodeOptions): Promise<NodeHealth>;
  /** Whether one node can serve now, and why not. @throws QuorumQError as `health` */
  ready(
    options?: NodeOptions,
  ): Promise<{ readonly isReady: boolean; readonly reason: string | undefined }>;
  /**
   * Adds a node that runs and waits for it: a learner until it has everything, then a voter.
   * Asking again for the same one does no harm.
   * @throws QuorumQError invalid_argument, overloaded: another change is under way …
   */
  addMember(member: NewMember, options?: CallOptions): Promise<Membership>;
  /** @throws QuorumQError not_found: it is no member, or an earlier try has removed it */
  removeMember(id: string, options?: CallOptions): Promise<Membership>;
  /**
   * Hands leadership over. Tried once: writes stand while it is tried, and a second time to any node
   * would hand it on again.
   * @param options.shard - default all that the target does not lead
   * @param options.to - name of the node; default any
   * @throws QuorumQError invalid_argument: the node cannot be reached; timeout: it did not take over
   */
  transferLeader(
    options?: { readonly shard?: number; readonly to?: string } & CallOptions,
  ): Promise<Membership>;
}

export function createHttpCluster(requester: HttpRequester): HttpCluster {
  const change = async (
    path: string,
    body: string,
    options: CallOptions,
    isRepeatable: boolean,
  ) => {
    const request = { method: "POST", path, body, isRepeatable, changes: true } as const;
    return readMembership(await requester.request(request, options));
  };
  const askNode = async (path: string, options: NodeOptions) => {
    const { endpoint } = options;
    const [base = null] = endpoint === undefined ? [] : parseUrls(endpoint);
    const answer = await requester.tryAt(base, path, options);
    // What one node says of itself has no other place to be asked for.
    if (answer.kind === "answered" && (answer.status === 200 || answer.status === 503)) {
      if (typeof fieldOf(answer.body, "status") === "string") return answer;
    }
    throw answer.kind === "lost"
      ? new QuorumQError("timeout", `${path}: no answer in time`, { cause: answer.cause })
      : errorOf(answer);
  };
  return {
    async raftStatus(options = {}) {
      const body = await requester.request({ ...reading, path: "/v1/raft/status" }, options);
      return { enabled: isTrue(body, "enabled"), groups: list(body, "groups", readGroup) };
    },
    async clusterNodes(options = {}) {
      const body = await requester.request({ ...reading, path: "/v1/cluster/nodes" }, options);
      return { nodes: list(body, "nodes", readNode), leader: maybeText(body, "leader") ?? "" };
    },
    health: async (options = {}) => readHealth((await askNode("/health", options)).body),
    async ready(options = {}) {
      const { status, body } = await askNode("/readyz", options);
      return { isReady: status === 200, reason: maybeText(body, "reason") };
    },
    addMember: ({ id, raft, http, grpc }, options = {}) =>
      change("/v1/admin/members", bodyText({ id, raft, http, grpc }), options, true),
    async removeMember(id, options = {}) {
      const path = `/v1/admin/members/${encodeURIComponent(id)}`;
      const request = { method: "DELETE", path, isRepeatable: true, changes: true } as const;
      return readMembership(await requester.request(request, options));
    },
    transferLeader: ({ shard, to, ...options } = {}) =>
      change("/v1/admin/leader/transfer", bodyText({ shard, to }), options, false),
  };
}

const reading = { method: "GET", isRepeatable: true, changes: false } as const;

function readGroup(body: unknown): RaftGroup {
  return {
    shard: number(body, "shardIdx"),
    selfId: text(body, "selfId"),
    isLeader: isTrue(body, "isLeader"),
    leaderId: text(body, "leaderId"),
    leaderHttp: text(body, "leaderHTTPAddr"),
    term: number(body, "term"),
    commitIndex: number(body, "commitIndex"),
    appliedIndex: number(body, "appliedIndex"),
    lastIndex: number(body, "lastIndex"),
    voters: list(body, "voters", String),
    learners: list(body, "learners", String),
    followers: list(body, "followers", (one) => ({
      id: text(one, "id"),
      matchIndex: number(one, "matchIndex"),
      lastContactMs: number(one, "lastContactMs"),
    })),
  };
}

function readNode(body: unknown): ClusterNode {
  return {
    id: text(body, "id"),
    isLeader: isTrue(body, "is_leader"),
    address: text(body, "address"),
    http: text(body, "http"),
    grpc: text(body, "grpc"),
    reachable: isTrue(body, "reachable"),
    lastContactMs: number(body, "last_contact_ms"),
    version: text(body, "version"),
    shardsLed: list(body, "shards_led", Number),
  };
}

function readHealth(body: unknown): NodeHealth {
  return {
    isReady: text(body, "status") === "ok",
    nodeId: text(body, "node_id"),
    isLeader: isTrue(body, "is_leader"),
    uptimeSeconds: number(body, "uptime_seconds"),
    shards: list(body, "shards", (one) => ({
      shard: number(one, "shard"),
      role: text(one, "role") as ShardHealth["role"],
      term: number(one, "term"),
      leaderId: text(one, "leader_id"),
      commit: number(one, "commit"),
      applied: number(one, "applied"),
      lag: number(one, "lag"),
    })),
  };
}

function readMembership(body: unknown): Membership {
  return { voters: list(body, "voters", String), learners: list(body, "learners", String) };
}
