/**
 * What `quorumq recover` does to a data directory while no node runs on it: looks at all of it, says
 * what would be lost, and does it when it is told to.
 */
import { toShardId, toStoreId } from "../base/brand.ts";
import type { Random } from "../base/effects.ts";
import { forceGroup } from "../shard/force-group.ts";
import type { LogStart } from "../shard/log-store.ts";
import { foundedBy, unfounded } from "../shard/recovery.ts";
import {
  type ClusterFile,
  type Founder,
  readClusterFile,
  writeClusterFile,
} from "../storage/cluster-file.ts";
import type { Files } from "../storage/files.ts";
import { readHeader, type StoreIdentity } from "../storage/header-file.ts";
import { StorageError } from "../storage/kv.ts";
import { createLevelKv } from "../storage/level-kv.ts";
import {
  damagedName,
  identityOf,
  lockDirectory,
  makeIdentity,
  recoveringName,
  shardPath,
} from "../storage/store-directory.ts";
import { type Config, ConfigError } from "./config.ts";
import { formatAddress } from "./config-kinds.ts";
import { hashLayout, nodeIdOf, recordedNodes, shardCountOf } from "./hash-layout.ts";
import { describePlan, type RecoverChoice, type RecoverPlan } from "./recover-report.ts";
import { RecoverShard } from "./recover-shard.ts";

export interface RecoverDeps {
  readonly files: Files;
  readonly random: Random;
  readonly print: (line: string) => void;
}

/** A folder beside the shards for what is put away; there is none of that name. */
export function asidePath(files: Files, root: string): string {
  for (let i = 1; ; i++) {
    const path = `${root}/aside-${i}`;
    if (!files.existsSync(path)) return path;
  }
}

/** done, planned: it was only said; nothing: there is nothing to be done. */
export type RecoverOutcome = "done" | "planned" | "nothing";

/**
 * @throws ConfigError, StorageError: it cannot be done, and why
 */
export async function recoverDirectory(
  deps: RecoverDeps,
  config: Config,
  choice: RecoverChoice,
): Promise<RecoverOutcome> {
  const { files } = deps;
  const root = config.storage.path;
  if (!files.existsSync(root)) throw new ConfigError([`storage.path: there is no ${root}`]);
  const lock = await lockAnyway(files, root);
  try {
    return await new Recovery(deps, config, choice).run();
  } finally {
    await lock.close();
  }
}

/** The lock is a store of its own; what is in it is of no use, damaged or not. */
export async function lockAnyway(files: Files, root: string): Promise<{ close(): Promise<void> }> {
  const deps = { files, openStore: createLevelKv };
  try {
    return await lockDirectory(deps, root);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code === "locked") throw error;
    files.removeSync(`${root}/lock`);
    return lockDirectory(deps, root);
  }
}

class Recovery {
  private readonly deps: RecoverDeps;
  private readonly config: Config;
  private readonly choice: RecoverChoice;
  private readonly root: string;
  /** What concerns no shard, a line each. */
  private readonly damages: string[] = [];

  constructor(deps: RecoverDeps, config: Config, choice: RecoverChoice) {
    this.deps = deps;
    this.config = config;
    this.choice = choice;
    this.root = config.storage.path;
  }

  async run(): Promise<RecoverOutcome> {
    const { choice, deps, root } = this;
    const identity = this.readIdentity();
    const cluster = this.readCluster();
    const shards = await this.look(identity, cluster);
    const isDamaged = this.damages.length > 0 || shards.some(({ damages }) => damages.length > 0);
    if (!isDamaged && !choice.forceNewCluster) {
      this.clearMarks();
      deps.print(`${root}: nothing is damaged`);
      return "nothing";
    }
    if (isDamaged && !choice.acceptLoss) {
      const lines = [...this.damages, ...shards.flatMap((shard) => shard.damages)];
      throw new StorageError("corrupt", `${lines.join("\n")}\nadd --accept-loss to go on without`);
    }
    if (choice.forceNewCluster && !cluster && this.damages.length === 0) {
      throw new ConfigError([`${root} belongs to no cluster`]);
    }
    for (const shard of shards) if (shard.damages.length > 0) await shard.salvage();
    const plan = { root, nodeId: identity.nodeId, choice, damages: this.damages, shards };
    try {
      this.refuseOthers(plan, cluster);
      for (const line of describePlan(plan, asidePath(deps.files, root))) deps.print(line);
    } catch (error) {
      for (const shard of shards) shard.discard();
      throw error;
    }
    if (!choice.yes) {
      for (const shard of shards) shard.discard();
      return "planned";
    }
    await this.apply(plan, identity, cluster);
    return "done";
  }

  /** As the headers say, as far as one of them can be read. @throws StorageError foreign */
  private readIdentity(): StoreIdentity {
    const { deps, config, root } = this;
    const layout = hashLayout(config);
    const expect = {
      nodeId: nodeIdOf(config),
      shardCount: shardCountOf(config),
      clusterNodes: layout ? recordedNodes(layout) : [],
    };
    const unreadable: string[] = [];
    for (const shard of this.shardNumbers()) {
      try {
        const identity = identityOf(readHeader(deps.files, shardPath(root, toShardId(shard))));
        refuseForeign(root, identity, expect);
        return identity;
      } catch (error) {
        unreadable.push(damageText(error));
      }
    }
    const holdsAny = deps.files.listSync(root).some((name) => name.startsWith("shard-"));
    if (!holdsAny) throw new ConfigError([`storage.path: ${root} holds no queue`]);
    this.damages.push(...unreadable);
    return makeIdentity(deps.random, expect);
  }

  /** Shards that this node keeps. */
  private shardNumbers(): readonly number[] {
    const layout = hashLayout(this.config);
    return layout ? [layout.own] : Array.from({ length: shardCountOf(this.config) }, (_, i) => i);
  }

  private readCluster(): ClusterFile | null {
    try {
      return readClusterFile(this.deps.files, this.root);
    } catch (error) {
      this.damages.push(damageText(error));
      return null;
    }
  }

  private async look(
    identity: StoreIdentity,
    cluster: ClusterFile | null,
  ): Promise<readonly RecoverShard[]> {
    const { files } = this.deps;
    const first = firstOf(identity, cluster);
    const shards: RecoverShard[] = [];
    for (const number of this.shardNumbers()) {
      const shard = new RecoverShard(
        { files, root: this.root, identity, first },
        toShardId(number),
      );
      await shard.check();
      shards.push(shard);
    }
    return shards;
  }

  /** What others have a copy of is not to be given up here. */
  private refuseOthers({ shards }: RecoverPlan, cluster: ClusterFile | null): void {
    if (this.choice.forceNewCluster) return;
    const known = shards
      .map(({ look, rebuilt }) => look?.membership ?? rebuilt?.start?.membership)
      .filter((membership) => membership !== undefined);
    const counts = known.map(({ voters, learners }) => voters.length + learners.length);
    const listed = cluster?.founders.length ?? (this.config.raft.enabled ? this.peerCount : 1);
    const others = Math.max(...(counts.length > 0 ? counts : [listed])) - 1;
    if (others < 1) return;
    throw new ConfigError([
      `${this.root}: ${others} other nodes have copies of this store: start this node with --rejoin, ` +
        "and it takes the state from them; if a majority of them is lost for good, add --force-new-cluster",
    ]);
  }

  private get peerCount(): number {
    return this.config.raft.peers.length;
  }

  private async apply(
    { shards, choice }: RecoverPlan,
    identity: StoreIdentity,
    cluster: ClusterFile | null,
  ): Promise<void> {
    const { root } = this;
    const { files, random, print } = this.deps;
    files.writeSync(`${root}/${recoveringName}`, Buffer.alloc(0));
    files.syncDirectorySync(root);
    const aside = asidePath(files, root);
    for (const shard of shards) {
      if (!shard.rebuilt) continue;
      files.makeDirectorySync(aside);
      shard.apply(`${aside}/shard-${shard.shard}`);
    }
    const isUnreadable = cluster === null && this.config.raft.enabled && this.damages.length > 0;
    if (choice.forceNewCluster || isUnreadable) {
      const first = firstOf(identity, cluster);
      for (const shard of shards) {
        await shard.withStore((kv, vote) => forceGroup(kv, vote, first, identity.storeId));
      }
      writeClusterFile(files, root, newCluster(random, this.selfOf(identity, shards)));
    }
    this.clearMarks();
    print("done: start the node");
  }

  /** Nothing is wrong with the directory any more. */
  private clearMarks(): void {
    const { files } = this.deps;
    for (const name of [recoveringName, damagedName]) files.removeSync(`${this.root}/${name}`);
    files.syncDirectorySync(this.root);
  }

  /** Where this node is found, as its group knew it, or as it is configured. */
  private selfOf({ storeId, nodeId }: StoreIdentity, shards: readonly RecoverShard[]): Founder {
    for (const { look, rebuilt } of shards) {
      const members = look?.members ?? rebuilt?.start?.members ?? [];
      const known = members.find((member) => member.storeId === storeId);
      if (known) return known;
    }
    const peer = this.config.raft.peers.find(({ id }) => id === nodeId);
    return { storeId, nodeId, raft: peer ? formatAddress(peer) : "", http: "", grpc: "" };
  }
}

/** Where the log of a store begins that nothing was ever written to (node/cluster.ts). */
export function firstOf({ storeId }: StoreIdentity, cluster: ClusterFile | null): LogStart {
  if (!cluster) return foundedBy([storeId], []);
  if (cluster.founders.length === 0) return unfounded;
  const founders = cluster.founders.map((one) => ({ ...one, storeId: toStoreId(one.storeId) }));
  return foundedBy(
    founders.map((one) => one.storeId),
    founders,
  );
}

/** Members of the cluster before are strangers to it, should they come back. */
function newCluster(random: Random, self: Founder): ClusterFile {
  const id = Buffer.alloc(16);
  random.fill(id);
  return { clusterId: id.toString("hex"), founders: [self] };
}

/** @throws ConfigError */
function refuseForeign(
  root: string,
  found: StoreIdentity,
  expect: Pick<StoreIdentity, "nodeId" | "shardCount" | "clusterNodes">,
): void {
  const { nodeId, shardCount, clusterNodes } = found;
  const has = JSON.stringify({ nodeId, shardCount, clusterNodes: [...clusterNodes] });
  const wants = JSON.stringify({ ...expect, clusterNodes: [...expect.clusterNodes] });
  if (has !== wants) throw new ConfigError([`${root} is of another node: ${has}, not ${wants}`]);
}

/** @throws what is no damage */
function damageText(error: unknown): string {
  const isDamage =
    error instanceof StorageError && (error.code === "corrupt" || error.code === "missing");
  if (isDamage) return error.message;
  throw error;
}
