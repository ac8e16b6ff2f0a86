/**
 * Rules between keys (SPEC sections 5 and 7): which modes there are, and what would be unsafe.
 * Each gives lines for people, naming the keys.
 */
import { join } from "node:path";
import type { Config } from "./config-keys.ts";
import type { Address, Peer } from "./config-kinds.ts";
import { formatAddress, isLoopback, isUnspecified } from "./config-kinds.ts";
import type { ConfigFiles } from "./config-sources.ts";
import { peerListener } from "./hash-layout.ts";

/** Secrets that stand in examples everywhere. */
const exampleSecrets = /^(secret|password|change-?me|example|default|test|quorumq)[-_0-9]*$/i;
const secretCharsMin = 16;
const votersMax = 7;

/** @returns one line per broken rule */
export function crossChecks(config: Config, files: ConfigFiles): readonly string[] {
  return [
    ...modeRules(config),
    ...memberRules(config, files),
    ...listenerRules(config),
    ...secretRules(config),
    ...timingRules(config),
  ];
}

/** Listeners that clients, scrapers and other nodes reach. */
export function publicListeners(config: Config): readonly Address[] {
  const metrics = config.metrics.addr === null ? [] : [config.metrics.addr];
  return [config.http, ...config.grpc.addr, ...metrics];
}

/** Whether any token is configured; without one everybody may do everything. */
export function hasAuthentication(config: Config): boolean {
  const { tokensFile, producerConfig, workerConfig } = config.auth;
  return tokensFile !== "" || producerConfig !== null || workerConfig !== null;
}

/** Whether nobody beyond this machine can reach a public listener. */
export function isLoopbackOnly(config: Config): boolean {
  return publicListeners(config).every((address) => isLoopback(address.host));
}

function modeRules(config: Config): readonly string[] {
  const { raft, cluster, storage } = config;
  const broken: string[] = [];
  if (raft.enabled && cluster.enabled) {
    broken.push("raft.enabled, cluster.enabled: only one of them can be true");
  }
  if (cluster.enabled && storage.numShards > 1) {
    broken.push("storage.numShards: must be 1 with cluster.enabled: each node holds one shard");
  }
  if (storage.durability === "interval" && raft.enabled && raft.peers.length > 1) {
    broken.push("storage.durability: interval is only for a group of one voter");
  }
  if (config.rejoin && !raft.enabled) {
    broken.push("rejoin: only for a member of a cluster with raft.enabled");
  }
  if (config.limits.bodyBytes < config.limits.payloadBytes) {
    broken.push("limits.bodyBytes: must be at least limits.payloadBytes");
  }
  return broken;
}

function memberRules(config: Config, files: ConfigFiles): readonly string[] {
  const { raft, cluster } = config;
  const broken: string[] = [];
  if (raft.enabled) {
    broken.push(...selfRules("raft.selfId", raft.selfId, "raft.peers", raft.peers));
    const isFounded = files.exists(join(config.storage.path, "cluster"));
    if (raft.bootstrap && !isFounded) broken.push(...foundingRules(config));
  }
  if (cluster.enabled) {
    broken.push(...selfRules("cluster.selfId", cluster.selfId, "cluster.nodes", cluster.nodes));
  }
  const members = cluster.enabled ? cluster.nodes : raft.peers;
  const ids = new Set(members.map((member) => member.id));
  const isSpread = members.some((member) => !isLoopback(member.host));
  const hosts = [
    ...config.peers.http.map(
      (peer) => [peer.id, new URL(peer.url).hostname, "peers.http"] as const,
    ),
    ...config.peers.grpc.map((peer) => [peer.id, peer.host, "peers.grpc"] as const),
  ];
  for (const [id, host, key] of hosts) {
    if (!ids.has(id)) broken.push(`${key}: ${id} is not among the nodes`);
    // With insecure set nobody but this machine is meant to reach the ports: containers on it.
    if (isSpread && isLoopback(host) && !config.insecure)
      broken.push(`${key}: ${id} at ${host} is out of others' reach`);
  }
  return broken;
}

function selfRules(
  selfKey: string,
  self: string,
  listKey: string,
  list: readonly Peer[],
): string[] {
  if (self === "") return [`${selfKey}: must be set, to this node's name in ${listKey}`];
  if (!list.some((peer) => peer.id === self)) return [`${selfKey}: ${self} is not in ${listKey}`];
  return [];
}

/** Checked when a cluster is founded, never later: then the membership in the log counts. */
function foundingRules(config: Config): readonly string[] {
  const { peers, allowEven } = config.raft;
  if (peers.length > votersMax) return [`raft.peers: at most ${votersMax} nodes found a cluster`];
  if (peers.length > 0 && peers.length % 2 === 0 && !allowEven) {
    return ["raft.peers: an even number of nodes; add or leave out one, or set raft.allowEven"];
  }
  return [];
}

function listenerRules(config: Config): readonly string[] {
  const { http, grpc, metrics, raft, cluster } = config;
  const named: (readonly [string, Address])[] = [["http.port", http]];
  for (const address of grpc.addr) named.push(["grpc.addr", address]);
  if (metrics.addr !== null) named.push(["metrics.addr", metrics.addr]);
  const open = named.filter(([, address]) => !isLoopback(address.host));
  const broken: string[] = [];
  if (open.length > 0 && !hasAuthentication(config) && !config.insecure) {
    const list = open.map(([key, address]) => `${key} ${formatAddress(address)}`).join(", ");
    broken.push(`${list}: not loopback and no tokens (auth.tokensFile); or set insecure`);
  }
  if (raft.enabled || cluster.enabled) named.push([peerListenerKey(config), peerListener(config)]);
  for (const [i, [key, address]] of named.entries()) {
    const other = named.slice(0, i).find(([, earlier]) => overlaps(earlier, address));
    if (other !== undefined) broken.push(`${key}: port ${address.port} is taken by ${other[0]}`);
  }
  return broken;
}

function overlaps(a: Address, b: Address): boolean {
  if (a.port !== b.port) return false;
  const isSame = a.host === b.host || (isLoopback(a.host) && isLoopback(b.host));
  return isSame || isUnspecified(a.host) || isUnspecified(b.host);
}

function secretRules(config: Config): readonly string[] {
  const { raft, cluster } = config;
  const isReachable = (raft.enabled || cluster.enabled) && !isLoopback(peerListener(config).host);
  if (raft.secret !== "" && exampleSecrets.test(raft.secret)) {
    return ["raft.secret: is an example from the books; make one of your own"];
  }
  if (!isReachable) return [];
  if (raft.secret === "") {
    return [`raft.secret: must be set when ${peerListenerKey(config)} is not loopback`];
  }
  if (raft.secret.length < secretCharsMin) {
    return [`raft.secret: must have at least ${secretCharsMin} characters`];
  }
  return [];
}

/** Where a node's listener for other nodes comes from. */
function peerListenerKey({ cluster }: Config): string {
  return cluster.enabled ? "cluster.nodes" : "raft.bindAddr";
}

function timingRules(config: Config): readonly string[] {
  const { heartbeatMs, electionMs } = config.raft;
  if (electionMs > 5 * heartbeatMs) return [];
  return [`raft.electionMs: ${electionMs} must be over 5 × raft.heartbeatMs (${5 * heartbeatMs})`];
}
