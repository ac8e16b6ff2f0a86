/**
 * A member that lost its disk comes back: what is left of a damaged store is put away, and a node
 * with an empty store asks the cluster to take it in anew, under its new store id, as a learner
 * first. What it has forgotten is then of no harm: nobody counts on the store that it was.
 */
import { toShardId } from "../base/brand.ts";
import type { Logger, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { PeerCalls } from "../router/peer-calls.ts";
import { callKinds } from "../router/remote-codec.ts";
import { readClusterFile } from "../storage/cluster-file.ts";
import type { Files } from "../storage/files.ts";
import { readHeader } from "../storage/header-file.ts";
import { StorageError } from "../storage/kv.ts";
import { damagedName, shardPath } from "../storage/store-directory.ts";
import type { Cluster } from "./cluster.ts";
import type { Config } from "./config.ts";
import { shardCountOf } from "./hash-layout.ts";
import { encodeAction } from "./member-service.ts";
import { asidePath, firstOf, lockAnyway } from "./recover.ts";
import { RecoverShard } from "./recover-shard.ts";

/** The next start shall know, whatever it looks at itself. */
export function noteDamage(files: Files, root: string, reason: string): void {
  try {
    files.writeSync(`${root}/${damagedName}`, Buffer.from(`${reason}\n`));
    files.syncDirectorySync(root);
  } catch (error) {
    // The disk is not to be counted on; the log has the reason.
    if (!(error instanceof StorageError)) throw error;
  }
}

/**
 * Puts away a damaged store. To be called before anything has the directory open.
 * @throws StorageError locked, io, newer_format
 */
export async function putAwayDamaged(files: Files, config: Config, logger: Logger): Promise<void> {
  const root = config.storage.path;
  const names = files.existsSync(root) ? files.listSync(root) : [];
  // Alone there is nobody to take the state from; a directory that is being made has none.
  const isNew = names.every((name) => !/^shard-\d+$/.test(name));
  if (isNew || config.raft.peers.length < 2) return;
  const lock = await lockAnyway(files, root);
  try {
    const reason = await damageOf(files, config);
    if (reason === "") return;
    const aside = asidePath(files, root);
    logger.error("the store is damaged: it is put away, and the state taken from the others", {
      reason,
      aside,
    });
    files.makeDirectorySync(aside);
    // What says that this node belongs to a cluster goes first: the rest is nothing without it.
    const own = files.listSync(root).filter((name) => !/^(lock|cluster|aside-\d+)$/.test(name));
    for (const name of ["cluster", ...own]) {
      if (files.existsSync(`${root}/${name}`))
        files.renameSync(`${root}/${name}`, `${aside}/${name}`);
    }
    files.syncDirectorySync(aside);
    files.syncDirectorySync(root);
  } finally {
    await lock.close();
  }
}

/** What a start would find, and what the last process found; "" if nothing is wrong. */
async function damageOf(files: Files, config: Config): Promise<string> {
  const root = config.storage.path;
  if (files.existsSync(`${root}/${damagedName}`)) {
    return files.readSync(`${root}/${damagedName}`, 0, limits.sealedFileBytes).toString().trim();
  }
  try {
    const cluster = readClusterFile(files, root);
    const { shard: _, ...identity } = readHeader(files, shardPath(root, toShardId(0)));
    const first = firstOf(identity, cluster);
    for (let number = 0; number < shardCountOf(config); number++) {
      const shard = new RecoverShard({ files, root, identity, first }, toShardId(number));
      await shard.check("start");
      const [damage] = shard.damages;
      if (damage !== undefined) return damage;
    }
    return "";
  } catch (error) {
    const isDamage =
      error instanceof StorageError && (error.code === "corrupt" || error.code === "missing");
    if (isDamage) return error.message;
    throw error;
  }
}

export interface RejoinDeps {
  readonly cluster: Cluster;
  readonly calls: PeerCalls;
  readonly timers: Timers;
  readonly logger: Logger;
}

export interface Rejoin {
  stop(): void;
}

/** Asks one node after the other until this one belongs to their cluster. */
export function startRejoin({ cluster, calls, timers, logger }: RejoinDeps): Rejoin {
  let stopped = false;
  let asked = 0;
  let told = "";

  function ask(): void {
    if (stopped || cluster.start) return;
    const known = cluster.founded();
    const next = known[asked++ % Math.max(1, known.length)];
    if (!next) {
      later();
      return;
    }
    const about = { shard: 0, kind: callKinds.admin };
    calls.call(next.storeId, about, [encodeAction({ kind: "rejoin" })], {
      answered: later,
      failed: (error) => {
        const { nodeId: node } = next;
        const text = `${error.code}: ${error.message}`;
        if (text !== told) logger.warn("asked to be taken in again", { node, answer: text });
        told = text;
        later();
      },
    });
  }

  function later(): void {
    timers.after(limits.rejoinMs, ask);
  }

  later();
  return {
    stop: () => {
      stopped = true;
    },
  };
}
