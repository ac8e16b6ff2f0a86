/**
 * What a seed means: how large the cluster is, how its machines and its network are, and which
 * families of faults there are. Each thing is drawn from a stream of its own: a new one leaves all
 * others as they were.
 */
import { backoffPolicies, type Settings } from "../../../src/queue/command.ts";
import type { ReadAhead } from "../../../src/shard/loader.ts";
import { Stream } from "../random.ts";
import type { NetProfile } from "./net.ts";

export const faultKinds = [
  "crash", // a process or its machine ends
  "crashSoon", // the same within the next events: in the middle of a write, a start, a hand-over
  "crashAll", // all at once
  "stop", // a node is stopped in order and started again
  "sync", // an fsync fails
  "full", // a disk is full
  "stall", // a disk is slow
  "pause", // a process stands still
  "jump", // a wall clock jumps
  "cut", // one link
  "partition", // many links, in one of several shapes
  "isolateLeader",
  "clog", // a link delivers nothing for a while, and then all of it
  "transfer", // leadership is handed over
  "replace", // a node leaves, or is lost with its disk, and an empty one takes its place
  "resize", // the cluster grows or shrinks by two
] as const;

export type Fault = (typeof faultKinds)[number];

export interface ClusterScenario {
  readonly seed: number;
  readonly founders: number;
  readonly shards: number;
  /** Every node passes on what others lead, as against sending clients there. */
  readonly forward: boolean;
  /** Virtual ms with faults; then everything must come to its end. */
  readonly faultMs: number;
  readonly faultEveryMs: number;
  /** Which families of faults there are. */
  readonly faults: ReadonlySet<Fault>;
  /** Whether less than a majority stays broken at first when the faults end. */
  readonly leavesSomeBroken: boolean;
  /** How long partitions last, one by chance. */
  readonly holdsMs: readonly number[];
  readonly clientEveryMs: number;
  readonly readEveryMs: number;
  readonly leaseMs: number;
  /** How long a claim waits for work, and the most by which a task is delayed. */
  readonly claimWaitMs: number;
  readonly delayMaxMs: number;
  /**
   * Each node has one of these: little makes replicas that were away need the whole state, and where
   * they differ the next leader may have what they lack in its log.
   */
  readonly logKeepBytes: readonly number[];
  readonly net: NetProfile;
  readonly clocks: {
    /** The most that a clock's second is wrong by, and a wall clock at first, ms. */
    readonly rate: number;
    readonly offsetMs: number;
  };
  /** How often it is looked whether a phase is over. */
  readonly lookEveryMs: number;
  /** States of replicas are compared at each index that so many divide; it costs as much as they hold. */
  readonly compareEvery: number;
  readonly readAhead: ReadAhead;
  readonly settings: Settings;
}

/** Families that more runs have than others: what they bring about is rich. */
const often: ReadonlySet<Fault> = new Set<Fault>(["crash", "partition", "isolateLeader"]);

const longMs = 100 * 86_400_000;
const much = 64 * 1024 * 1024;

/** Draws a scenario; every family of faults is on or off by itself. */
export function clusterScenario(seed: number): ClusterScenario {
  const stream = (what: string) => new Stream(seed, `cluster ${what}`);
  const pick = <T>(what: string, list: readonly T[]) => stream(what).pick(list);
  const share = pick("share", [0.2, 0.4, 0.6]);
  const faults = new Set(
    faultKinds.filter((kind) => stream(kind).chance(often.has(kind) ? 0.6 : share)),
  );
  if (faults.size === 0) faults.add("crash");
  return {
    seed,
    founders: pick("founders", [3, 3, 3, 3, 5, 5, 1]),
    shards: pick("shards", [1, 1, 1, 2, 2, 4]),
    forward: pick("forward", [true, false]),
    faultMs: stream("faultMs").between(4_000, 15_000),
    faultEveryMs: pick("faultEvery", [100, 200, 400, 1_000]),
    faults,
    leavesSomeBroken: pick("broken", [true, false]),
    // Shorter than it takes to notice the silence, by chance.
    holdsMs: [100, 300, 900, 2_500],
    clientEveryMs: pick("clientEvery", [20, 60, 200]),
    readEveryMs: 60,
    leaseMs: 2_000,
    claimWaitMs: 500,
    delayMaxMs: 3_000,
    lookEveryMs: 10,
    compareEvery: 32,
    logKeepBytes: pick("logKeep", [[0], [2_000], [20_000], [much], [0, much]]),
    net: {
      ...pick("delay", [
        { minUs: 100, meanUs: 200 },
        { minUs: 500, meanUs: 5_000 },
        { minUs: 5_000, meanUs: 20_000 },
      ]),
      bytesPerUs: pick("bandwidth", [0.1, 10, 100]),
      silenceUs: pick("silence", [600_000, 2_000_000]),
      datagrams: pick("datagrams", [
        null,
        null,
        null,
        { lost: 0.02, repeated: 0.5, reordered: 0.3 },
        { lost: 0.1, repeated: 0.2, reordered: 0.5 },
      ]),
    },
    clocks: pick("clocks", [
      { rate: 0.0005, offsetMs: 1 },
      { rate: 0.0005, offsetMs: 1 },
      { rate: 0.05, offsetMs: 1 },
      { rate: 0.0005, offsetMs: 5_000 },
    ]),
    readAhead: pick("readAhead", [
      { dueRows: 1, readyRows: 1 },
      { dueRows: 512, readyRows: 512 },
    ]),
    settings: {
      backoffPolicy: pick("policy", backoffPolicies),
      backoffBaseMs: pick("backoff", [10, 300]),
      backoffMaxMs: 2_000,
      // Longer than any wall clock jumps.
      doneRetentionMs: longMs,
      deadRetentionMs: longMs,
    },
  };
}

/**
 * The same for a cluster that runs for a long time: minutes of quiet between faults, partitions that
 * last, leases and delays of many seconds.
 */
export function longScenario(seed: number): ClusterScenario {
  const stream = (what: string) => new Stream(seed, `long ${what}`);
  const pick = <T>(what: string, list: readonly T[]) => stream(what).pick(list);
  return {
    ...clusterScenario(seed),
    shards: pick("shards", [1, 1, 2]),
    faultMs: stream("faultMs").between(600_000, 1_200_000),
    faultEveryMs: pick("faultEvery", [5_000, 15_000, 60_000]),
    holdsMs: [900, 2_500, 12_000, 60_000],
    clientEveryMs: pick("clientEvery", [2_000, 8_000, 20_000]),
    readEveryMs: 1_000,
    leaseMs: 15_000,
    claimWaitMs: 2_500,
    delayMaxMs: 20_000,
    lookEveryMs: 100,
    compareEvery: 1024,
  };
}
