/**
 * What a seed means: which faults it has, how often, and how the node and its clients are set up.
 * Each fault family is on or off by itself (swarm testing), so that some runs have only one kind.
 */
import { backoffPolicies, type Settings } from "../../src/queue/command.ts";
import type { ReadAhead } from "../../src/shard/loader.ts";
import { Stream } from "./random.ts";
import type { ClientScenario } from "./world.ts";

export const faultFamilies = [
  "kill", // the process ends between two events
  "power", // so does the machine: what was not synced may be lost
  "restart", // the node is stopped in order and started again
  "sync", // an fsync fails
  "full", // the disk is full
  "jump", // the wall clock jumps
  "pause", // the process stands still
  "stall", // the disk is slow
] as const;

export type FaultFamily = (typeof faultFamilies)[number];

export interface Scenario extends ClientScenario {
  /** Virtual ms with faults; then everything must drain. */
  readonly faultMs: number;
  readonly faults: readonly FaultFamily[];
  /** Mean virtual ms between faults. */
  readonly faultEveryMs: number;
  /** What is done to the store at the very end: the node must refuse it. */
  readonly damage: "none" | "log" | "table" | "tail";
  readonly durability:
    | { readonly kind: "always" }
    | { readonly kind: "interval"; readonly ms: number };
  readonly readAhead: ReadAhead;
  readonly clockRate: number;
  /** Mean µs of an operation of the disk. */
  readonly diskUs: number;
  /** Bounds of the node that are made small, so that a short run meets them. */
  readonly limits: Readonly<Record<string, number>>;
}

/** Longer than what jumps of the clock can add up to. */
const tenYearsMs = 10 * 365 * 86_400_000;

export function createScenario(seed: number): Scenario {
  const random = new Stream(seed, "scenario");
  const share = random.pick([0.15, 0.4, 0.7]);
  const interval = random.chance(0.25);
  const limits = limitsOf(random);
  return {
    seed,
    faultMs: random.between(1_500, 8_000),
    faults: faultFamilies.filter(() => random.chance(share)),
    faultEveryMs: random.pick([150, 400, 1_200]),
    damage: random.pick(["none", "log", "table", "tail"]),
    durability: interval ? { kind: "interval", ms: random.pick([5, 50, 400]) } : { kind: "always" },
    settings: settingsOf(random),
    readAhead: random.pick([
      { readyRows: 1, dueRows: 1 },
      { readyRows: 3, dueRows: 4 },
      { readyRows: 512, dueRows: 2048 },
    ]),
    clockRate: 1 + random.between(-500, 500) / 1e6,
    diskUs: random.pick([50, 300, 3_000, 15_000]),
    limits,
    clientEveryMs: random.pick([40, 150, 400]),
    producers: random.between(1, 3),
    workers: random.between(1, 3),
    queues: ["mail", "bills", "a.b:c"].slice(0, random.between(1, 3)),
    tenants: ["acme", "bolt"].slice(0, random.between(1, 2)),
    answerLoss: random.pick([0, 0.03, 0.2]),
    payloadBytes: random.pick([20, 300, 3_000]),
    runTasks: limits["runTasks"] ?? 256,
    patienceMs: Number.POSITIVE_INFINITY,
    actions: random.chance(0.5),
    isDurable: !interval,
  };
}

function settingsOf(random: Stream): Settings {
  return {
    backoffPolicy: random.pick(backoffPolicies),
    backoffBaseMs: random.pick([0, 20, 500]),
    backoffMaxMs: 2_000,
    doneRetentionMs: random.chance(0.2) ? random.pick([1_000, 4_000]) : tenYearsMs,
    deadRetentionMs: random.chance(0.1) ? 3_000 : tenYearsMs,
  };
}

function limitsOf(random: Stream): Record<string, number> {
  if (random.chance(0.3)) return {};
  return {
    checkpointOps: random.pick([1, 20, 5_000]),
    checkpointBytes: random.pick([200, 10_000, 1_048_576]),
    checkpointMs: random.pick([5, 250]),
    overlayBytes: random.pick([2_000, 50_000, 8_388_608]),
    windowBytes: random.pick([0, 3_000, 33_554_432]),
    windowRows: random.pick([0, 30, 100_000]),
    payloadCacheBytes: random.pick([0, 5_000, 16_777_216]),
    entryCommands: 4096,
    entryBytes: random.pick([3_000, 4_194_304]),
    runTasks: random.pick([3, 256]),
  };
}
