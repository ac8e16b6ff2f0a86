/** The arguments of `add-nodes` as a configuration of the core. */
import type { LogIndex, StoreId } from "../../src/base/brand.ts";
import type { RaftConfig } from "../../src/raft/types.ts";
import { argValues, type Block } from "./datadriven.ts";
import type { MemoryLog } from "./memory-log.ts";

export function nodeConfig(
  block: Block,
  id: StoreId,
  log: MemoryLog,
  applied: LogIndex,
): RaftConfig {
  const value = (key: string): string | undefined => argValues(block, key)?.[0];
  const flag = (key: string): boolean => value(key) === "true";
  const size = (key: string): number => Number(value(key) ?? Number.POSITIVE_INFINITY);
  const maxSizePerMsg = size("max-size-per-msg");
  return {
    id,
    log,
    appliedIndex: applied,
    electionTicks: 3,
    heartbeatTicks: 1,
    random: (n) => n - 1,
    asyncStorageWrites: flag("async-storage-writes"),
    preVote: flag("prevote"),
    checkQuorum: flag("checkquorum"),
    maxSizePerMsg,
    maxCommittedSizePerReady: Number(value("max-committed-size-per-ready") ?? maxSizePerMsg),
    maxUncommittedSize: size("max-uncommitted-size"),
    maxInflightMsgs: Number(value("inflight") ?? 2 ** 31 - 1),
    maxInflightBytes: size("inflight-bytes"),
    readOnly: value("read-only") === "lease-based" ? "lease" : "safe",
    disableProposalForwarding: flag("disable-proposal-forwarding"),
    disableConfChangeValidation: flag("disable-conf-change-validation"),
    stepDownOnRemoval: flag("step-down-on-removal"),
  };
}
