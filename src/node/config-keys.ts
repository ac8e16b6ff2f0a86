/**
 * Every configuration key, one row each: what it takes, its default, its environment names. The
 * type of the whole configuration follows from this table (SPEC sections 5 and 7).
 *
 * A key `a.bC` has the environment name QUORUMQ_A_B_C and the flag `--a.bC`.
 */
import { KiB, limits, MiB } from "../base/limits.ts";
import { backoffPolicies } from "../queue/command.ts";
import type { Kind } from "./config-kinds.ts";
import {
  boolean,
  choice,
  hostName,
  integer,
  jsonObject,
  listener,
  listeners,
  nodeName,
  optionalListener,
  origins,
  peers,
  peerUrls,
  seconds,
  text,
} from "./config-kinds.ts";

export interface KeyRow<T> {
  readonly kind: Kind<T>;
  readonly standard: T;
  /** One line for help and documentation. */
  readonly doc: string;
  /** codeQ's names for it. */
  readonly aliases: readonly string[];
  /** The aliases are parts of one list, not several names of one value. */
  readonly joinsAliases: boolean;
  /** Never shown, never taken from the command line, where other users could see it. */
  readonly isSecret: boolean;
}

type Extras = Partial<Pick<KeyRow<unknown>, "aliases" | "joinsAliases" | "isSecret">>;

function key<T>(kind: Kind<T>, standard: T, doc: string, extras: Extras = {}): KeyRow<T> {
  return { kind, standard, doc, aliases: [], joinsAliases: false, isSecret: false, ...extras };
}

const loopback = (port: number) => ({ host: "127.0.0.1", port });
const pathChars = 4096;
const day = 86_400;
const tenYears = limits.delaySecondsMax;

export const configKeys = {
  "http.host": key(hostName(), "127.0.0.1", "host or address of the HTTP listener", {
    aliases: ["HOST"],
  }),
  "http.port": key(integer(1, 65_535), 8080, "port of the HTTP listener", { aliases: ["PORT"] }),
  "http.corsOrigins": key(
    origins(limits.corsOrigins),
    [],
    "origins whose pages may call the HTTP API (CORS): https://host:port,…, or *; none by default",
  ),
  "http.slowMs": key(
    integer(1, 3_600_000),
    limits.httpSlowMs,
    "ms from which on a request, or a stream's frame, is logged as slow, its waiting apart",
  ),
  "grpc.addr": key(listeners(), [loopback(9092)], "gRPC listener, or two; each serves everything", {
    aliases: ["PRODUCER_STREAM_ADDR", "WORKER_STREAM_ADDR"],
    joinsAliases: true,
  }),
  "metrics.addr": key(
    optionalListener(),
    loopback(9091),
    "listener for /metrics alone; off: none",
    {
      aliases: ["METRICS_ADDR"],
    },
  ),
  "storage.path": key(text(pathChars), "data", "data directory; PERSISTENCE_CONFIG sets it too"),
  "storage.numShards": key(
    integer(1, limits.shards),
    1,
    "shards of this node or cluster; for good; PERSISTENCE_CONFIG sets it too",
  ),
  "storage.durability": key(
    choice("always", "interval"),
    "always",
    "always: fsync before any acknowledgement; interval: within storage.intervalMs after it",
  ),
  "storage.intervalMs": key(integer(1, 10_000), 100, "ms between syncs with durability interval"),
  "raft.enabled": key(boolean(), false, "replicate every shard over raft.peers", {
    aliases: ["RAFT_ENABLED"],
  }),
  "raft.selfId": key(nodeName(), "", "this node's name among raft.peers", {
    aliases: ["RAFT_SELF_ID"],
  }),
  "raft.bindAddr": key(listener(), loopback(7000), "listener for the other nodes", {
    aliases: ["RAFT_BIND_ADDR"],
  }),
  "raft.bootstrap": key(boolean(), false, "found the cluster; on exactly one node", {
    aliases: ["RAFT_BOOTSTRAP"],
  }),
  "raft.peers": key(peers(limits.peers), [], "all nodes, this one too: id=host:port,…", {
    aliases: ["RAFT_PEERS"],
  }),
  "raft.allowEven": key(boolean(), false, "found a cluster with an even number of nodes"),
  rejoin: key(
    boolean(),
    false,
    "a node whose disk is empty or damaged puts away what is left of its data, and asks the cluster to take it in anew",
  ),
  "raft.heartbeatMs": key(integer(10, 10_000), 50, "ms between a leader's heartbeats", {
    aliases: ["RAFT_HEARTBEAT_MS"],
  }),
  "raft.electionMs": key(
    integer(51, 120_000),
    300,
    "ms of silence before an election, up to twice as long; over 5 × raft.heartbeatMs",
    { aliases: ["RAFT_ELECTION_MS"] },
  ),
  "raft.secret": key(text(1024), "", "what the nodes prove to each other", { isSecret: true }),
  "cluster.enabled": key(boolean(), false, "hash-routed cluster: one shard per node, no copies", {
    aliases: ["CLUSTER_ENABLED"],
  }),
  "cluster.selfId": key(nodeName(), "", "this node's name among cluster.nodes", {
    aliases: ["CLUSTER_SELF_ID"],
  }),
  "cluster.nodes": key(
    peers(limits.shards),
    [],
    "all nodes of a hash-routed cluster: id=host:port,…",
    {
      aliases: ["CLUSTER_NODES"],
    },
  ),
  "peers.http": key(
    peerUrls(limits.shards),
    [],
    "what clients call the nodes: id=http://host:port,…",
    {
      aliases: ["RAFT_PEER_HTTP_ADDRS"],
    },
  ),
  "peers.grpc": key(peers(limits.shards), [], "where clients reach their gRPC: id=host:port,…", {
    aliases: ["RAFT_PEER_GRPC_ADDRS"],
  }),
  routing: key(
    choice("redirect", "forward"),
    "redirect",
    "requests for another node: answered by a redirect, or passed on (behind a load balancer)",
  ),
  insecure: key(boolean(), false, "allow listeners beyond loopback without authentication"),
  dev: key(boolean(), false, "allow data on a file system that forgets it (tmpfs)"),
  "auth.tokensFile": key(text(pathChars), "", "JSON or YAML list of tokens; re-read on SIGHUP", {
    aliases: ["AUTH_TOKENS_FILE"],
  }),
  "auth.producerProvider": key(choice("static"), "static", "how auth.producerConfig is read", {
    aliases: ["PRODUCER_AUTH_PROVIDER"],
  }),
  "auth.producerConfig": key(jsonObject(), null, "one producer token, as codeQ writes it", {
    aliases: ["PRODUCER_AUTH_CONFIG"],
    isSecret: true,
  }),
  "auth.workerProvider": key(choice("static"), "static", "how auth.workerConfig is read", {
    aliases: ["WORKER_AUTH_PROVIDER"],
  }),
  "auth.workerConfig": key(jsonObject(), null, "one worker token, as codeQ writes it", {
    aliases: ["WORKER_AUTH_CONFIG"],
    isSecret: true,
  }),
  "auth.allowProducerAsWorker": key(boolean(), false, "a producer's token may work, too", {
    aliases: ["ALLOW_PRODUCER_AS_WORKER"],
  }),
  "limits.payloadBytes": key(
    integer(1 * KiB, limits.payloadBytesMax),
    limits.payloadBytes,
    "bytes of one task's payload",
  ),
  "limits.bodyBytes": key(
    integer(1 * KiB, 64 * MiB),
    limits.bodyBytes,
    "bytes of a batch request's body; at least limits.payloadBytes",
  ),
  "retention.doneSeconds": key(
    integer(1, tenYears),
    day,
    "how long completed, failed and canceled tasks stay",
  ),
  "retention.deadSeconds": key(integer(1, tenYears), 14 * day, "how long dead tasks stay"),
  "defaults.leaseSeconds": key(
    integer(limits.leaseSecondsMin, limits.leaseSecondsMax),
    300,
    "lease of a claim that names none",
  ),
  "defaults.maxAttempts": key(
    integer(1, limits.maxAttemptsMax),
    5,
    "deliveries before a task is dead, where its creator names none",
    { aliases: ["MAX_ATTEMPTS_DEFAULT"] },
  ),
  "defaults.backoffPolicy": key(
    choice(...backoffPolicies),
    "exp_full_jitter",
    "wait after a nack without delay, and after an expiry",
    { aliases: ["BACKOFF_POLICY"] },
  ),
  "defaults.backoffBaseSeconds": key(seconds(0, day), 5, "first wait of the policy", {
    aliases: ["BACKOFF_BASE_SECONDS"],
  }),
  "defaults.backoffMaxSeconds": key(seconds(0, day), 900, "longest wait of the policy", {
    aliases: ["BACKOFF_MAX_SECONDS"],
  }),
  "log.level": key(choice("debug", "info", "warn", "error"), "info", "least level that is logged"),
  "log.format": key(choice("json", "text"), "json", "form of a log line"),
} as const;

export type ConfigKey = keyof typeof configKeys;

/** The value's type of each key. */
export type ConfigValues = {
  readonly [K in ConfigKey]: (typeof configKeys)[K] extends KeyRow<infer T> ? T : never;
};

type GroupOf<K> = K extends `${infer G}.${string}` ? G : never;

/** All keys, nested as in the YAML file: `config.http.port`. */
export type Config = {
  readonly [G in GroupOf<ConfigKey>]: {
    readonly [K in ConfigKey as K extends `${G}.${infer Rest}` ? Rest : never]: ConfigValues[K];
  };
} & { readonly [K in Exclude<ConfigKey, `${string}.${string}`>]: ConfigValues[K] };

/** Keys in the order of the table. */
export const configKeyNames = Object.keys(configKeys) as readonly ConfigKey[];

/** The row of a key, for code that treats all keys alike. */
export function rowOf(name: ConfigKey): KeyRow<unknown> {
  return configKeys[name] as KeyRow<unknown>;
}

/** Whether a text is a key. */
export function isConfigKey(name: string): name is ConfigKey {
  return Object.hasOwn(configKeys, name);
}

/** QUORUMQ_ and the key in upper snake case. */
export function envName(name: ConfigKey): string {
  const snake = name.replace(/[A-Z]/g, (letter) => `_${letter}`).replaceAll(".", "_");
  return `QUORUMQ_${snake.toUpperCase()}`;
}
