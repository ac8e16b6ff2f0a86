/**
 * What this version cannot run yet, though it can be configured. Saying so at start is better than
 * running as something else.
 */
import type { Config } from "./config.ts";

/** @returns one line per mode that was asked for and is not there */
export function unsupportedModes(config: Config): readonly string[] {
  const { raft, cluster, storage } = config;
  const refused: string[] = [];
  if (raft.enabled && raft.peers.length > 1) {
    refused.push("raft.peers: this version runs a single node; it cannot replicate to others yet");
  }
  if (cluster.enabled) {
    refused.push("cluster.enabled: this version runs a single node; it cannot route to others yet");
  }
  if (storage.numShards > 1) {
    refused.push("storage.numShards: this version runs one shard; it cannot split the tasks yet");
  }
  return refused;
}
