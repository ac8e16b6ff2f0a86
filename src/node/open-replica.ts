/** Opens one replica of a shard on this node's real disk. */
import { limits } from "../base/limits.ts";
import type { Settings } from "../queue/command.ts";
import type { LogStart } from "../shard/log-store.ts";
import type { PeerLink } from "../shard/peer-link.ts";
import { Replica } from "../shard/replica.ts";
import { createReplicaStores } from "../shard/replica-stores.ts";
import type { Shard, ShardOptions } from "../shard/shard.ts";
import type { Files } from "../storage/files.ts";
import { sampleFreeSpace } from "../storage/free-space.ts";
import { createGroupCommit } from "../storage/group-commit.ts";
import type { Kv } from "../storage/kv.ts";
import { createLevelKv } from "../storage/level-kv.ts";
import { createLevelStoreCopier } from "../storage/level-store-copy.ts";
import { checkTablesAtStart } from "../storage/scrub.ts";
import type { ShardDirectory } from "../storage/store-directory.ts";
import { checkStoreLog } from "../storage/store-log.ts";
import type { Config } from "./config.ts";
import type { NodeEffects } from "./lifecycle.ts";
import { createCommitMetrics } from "./node-metrics.ts";

export interface OpenReplicaDeps {
  readonly config: Config;
  readonly effects: NodeEffects;
  readonly files: Files;
  readonly peers: PeerLink | null;
  readonly onFatal: (error: unknown) => void;
  readonly replaced: (shard: Shard) => void;
}

/**
 * @param founding - where the log of a new group begins; null: this replica alone
 * @throws StorageError corrupt, missing, io
 */
export function openReplica(
  deps: OpenReplicaDeps,
  directory: ShardDirectory,
  founding: LogStart | null,
): Promise<Replica> {
  const { config, effects, files, peers, onFatal, replaced } = deps;
  const { clock, timers, random, logger } = effects;
  const metrics = createCommitMetrics(effects.metrics, directory.shard);
  const stores = createReplicaStores({
    files,
    path: directory.path,
    openKv: (path) => openChecked(deps, path),
    createCommit: (kv) => createGroupCommit({ kv, clock, metrics, onFatal }),
    hasSpace: (bytes) => {
      const { freeBytes, reserveBytes } = sampleFreeSpace(files, config.storage.path);
      return freeBytes - bytes > reserveBytes;
    },
  });
  return Replica.open(
    {
      ...{ stores, clock, timers, random, logger, peers, onFatal, replaced },
      copier: createLevelStoreCopier(files),
    },
    shardOptions(config, directory, founding),
  );
}

async function openChecked({ config, effects, files }: OpenReplicaDeps, path: string): Promise<Kv> {
  const turn = () => new Promise<void>((resolve) => effects.timers.soon(resolve));
  await checkTablesAtStart(files, path, limits.startCheckBytes / config.storage.numShards, turn);
  const kv = await createLevelKv(path, {
    createIfMissing: false,
    // Many shards share what one would take.
    writeBufferBytes: Math.max(
      limits.writeBufferBytesMin,
      Math.floor(limits.writeBufferBytes / config.storage.numShards),
    ),
  });
  try {
    checkStoreLog(files, path);
  } catch (error) {
    await kv.close();
    throw error;
  }
  return kv;
}

function shardOptions(
  config: Config,
  { shard, identity }: ShardDirectory,
  founding: LogStart | null,
): ShardOptions {
  const { storage, raft } = config;
  return {
    shard,
    shardCount: identity.shardCount,
    storeId: identity.storeId,
    settings: settingsOf(config),
    durability:
      storage.durability === "always"
        ? { kind: "always" }
        : { kind: "interval", ms: storage.intervalMs },
    tickMs: raft.heartbeatMs,
    electionTicks: Math.ceil(raft.electionMs / raft.heartbeatMs),
    ...(founding && { founding }),
  };
}

function settingsOf({ defaults, retention }: Config): Settings {
  return {
    backoffPolicy: defaults.backoffPolicy,
    backoffBaseMs: Math.round(defaults.backoffBaseSeconds * 1000),
    backoffMaxMs: Math.round(defaults.backoffMaxSeconds * 1000),
    doneRetentionMs: retention.doneSeconds * 1000,
    deadRetentionMs: retention.deadSeconds * 1000,
  };
}
