/**
 * Keeps the leases of a worker's tasks alive: each is renewed at a third of its length, by one
 * timer for all of them, and given up when it is over for certain.
 */
import type { SettleAcks } from "../api/received-ack-coder.ts";
import type { TimerHandle } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { type ClientErrorCode, errorOfAck, QuorumQError } from "./errors.ts";
import type { HeldTask } from "./held-task.ts";
import { nextTry } from "./retry.ts";
import type { Settler } from "./settler.ts";
import type { ClientEffects } from "./system.ts";
import type { WorkerStream } from "./worker-stream.ts";

export interface LeaseDeps {
  readonly effects: ClientEffects;
  readonly stream: WorkerStream;
  readonly settler: Settler;
  /** Tasks waiting or running, by id. */
  readonly live: ReadonlyMap<string, HeldTask>;
  /** Length of a lease. */
  readonly leaseMs: number;
  /** The task is not ours any more. */
  lose(held: HeldTask, reason: QuorumQError): void;
}

export class LeaseKeeper {
  private readonly deps: LeaseDeps;
  private timer: TimerHandle | null = null;
  /** Since when heartbeats on the present stream are told that nobody leads; -1: they are not. */
  private leaderlessSinceMs = -1;

  constructor(deps: LeaseDeps) {
    this.deps = deps;
  }

  /** Tasks were taken. */
  taken(): void {
    // Later than all that is watched already, since every lease has the same length.
    if (this.timer === null) this.watch();
  }

  /** A new stream: whether the leases outlived the old one only the server knows. */
  opened(): void {
    this.leaderlessSinceMs = -1;
    for (const held of this.deps.live.values()) this.beat(held, undefined);
  }

  /** The stream is gone, and what was sent on it will not be answered. */
  lost(): void {
    for (const held of this.deps.live.values()) held.nextLeaseEndsMs = 0;
  }

  /** Renews a lease at its handler's wish. @param extendMs - undefined = the lease's length */
  extend(held: HeldTask, extendMs: number | undefined): void {
    this.beat(held, extendMs);
    this.watch();
  }

  /** Takes the answer to a heartbeat. */
  acked(acks: SettleAcks): void {
    const { live, lose, stream, effects, leaseMs } = this.deps;
    const held = live.get(acks.taskIds[0] ?? "");
    const failure = acks.failures[0];
    if (failure === undefined) this.leaderlessSinceMs = -1;
    if (held === undefined) return;
    if (failure === undefined) {
      held.renewed();
      return;
    }
    const error = errorOfAck(failure);
    if (error.code === "lease_lost" || error.code === "not_found") {
      lose(held, leaseLost(error));
      return;
    }
    if (this.isCutOff(error.code)) {
      stream.move(error);
    } else {
      held.renewAtMs = effects.clock.monotonicMs() + leaseMs / 12;
      this.watch();
    }
  }

  /** Refusals come in bursts, one per task: only their time tells an election from a cut. */
  private isCutOff(code: ClientErrorCode): boolean {
    if (code !== "no_leader") {
      return nextTry({ code, tries: 1, isRepeatable: true }) === "elsewhere";
    }
    const nowMs = this.deps.effects.clock.monotonicMs();
    if (this.leaderlessSinceMs < 0) this.leaderlessSinceMs = nowMs;
    return nowMs - this.leaderlessSinceMs >= limits.clientNoLeaderMs;
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private beat(held: HeldTask, extendMs: number | undefined): void {
    const { effects, stream, leaseMs } = this.deps;
    const nowMs = effects.clock.monotonicMs();
    const lengthMs = extendMs ?? leaseMs;
    held.renewAtMs = nowMs + lengthMs / 3;
    if (!stream.isOpen) return;
    held.nextLeaseEndsMs = nowMs + lengthMs;
    const extendSeconds = extendMs === undefined ? 0 : Math.ceil(extendMs / 1000);
    stream.heartbeat(held.task, { extendSeconds });
  }

  /** Sets the timer to the earliest time at which a lease needs something. */
  private watch(): void {
    const { effects, live, settler, leaseMs } = this.deps;
    this.stop();
    let dueMs = settler.size > 0 ? effects.clock.monotonicMs() + leaseMs : Infinity;
    for (const held of live.values()) dueMs = Math.min(dueMs, held.renewAtMs, held.leaseEndsMs);
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const delayMs = dueMs - effects.clock.monotonicMs();
    this.timer = effects.timers.after(delayMs, () => this.renew());
  }

  private renew(): void {
    const { effects, live, settler, leaseMs, lose } = this.deps;
    this.timer = null;
    const nowMs = effects.clock.monotonicMs();
    // Those due soon go along: one wake-up then serves all tasks of a batch.
    const soonMs = nowMs + leaseMs / 24;
    for (const held of [...live.values()]) {
      if (held.leaseEndsMs <= nowMs) lose(held, leaseLost());
      else if (held.renewAtMs <= soonMs) this.beat(held, undefined);
    }
    settler.expire(nowMs, leaseLost());
    this.watch();
  }
}

export function leaseLost(cause?: QuorumQError): QuorumQError {
  return new QuorumQError("lease_lost", "the lease is over", { cause });
}
