/** The arguments of `add-nodes` as a configuration of the core. */
import type { LogIndex, StoreId } from "../../src/base/brand.ts";
import type { RaftConfig } from "../../src/raft/types.ts";
import { type Arg, argValues, CommandError } from "./datadriven.ts";
import type { MemoryLog } from "./memory-log.ts";

export function nodeConfig(
  args: readonly Arg[],
  id: StoreId,
  log: MemoryLog,
  applied: LogIndex,
): RaftConfig {
  const value = (key: string): string | undefined => argValues(args, key)?.[0];
  const flag = (key: string): boolean => value(key) === "true";
  const size = (key: string): number => Number(value(key) ?? Number.POSITIVE_INFINITY);
  const maxSizePerMsg = size("max-size-per-msg");
  const readOnly = value("read-only") ?? "safe";
  if (readOnly !== "safe" && readOnly !== "lease-based") {
    throw new CommandError(`invalid read-only option "${readOnly}"`);
  }
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
    readOnly: readOnly === "safe" ? "safe" : "lease",
    disableProposalForwarding: flag("disable-proposal-forwarding"),
    disableConfChangeValidation: flag("disable-conf-change-validation"),
    stepDownOnRemoval: flag("step-down-on-removal"),
  };
}
