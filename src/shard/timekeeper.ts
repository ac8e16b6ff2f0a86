/**
 * The timekeeper: while this replica serves, it has the leader log an `expire` when something is
 * due, one at a time, until nothing more is. It sleeps until the earliest due time.
 */
import type { TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { ExpireCommand } from "../queue/command.ts";
import type { State } from "../queue/state.ts";
import type { LeaderClock } from "./leader-clock.ts";
import type { CommandSink } from "./proposer.ts";

export interface TimekeeperDeps {
  readonly state: State;
  readonly timers: Timers;
  readonly clock: LeaderClock;
  readonly serves: () => boolean;
  readonly submit: (command: ExpireCommand, sink: CommandSink) => void;
}

export class Timekeeper {
  private readonly deps: TimekeeperDeps;
  private expiring = false;
  private timer: TimerHandle | null = null;
  private timerAt = Number.POSITIVE_INFINITY;

  constructor(deps: TimekeeperDeps) {
    this.deps = deps;
  }

  /** Something may have become due earlier than known: looks, and expires or sleeps. */
  look(): void {
    const { state, clock } = this.deps;
    if (this.expiring || !this.deps.serves()) return;
    const next = Math.min(state.due.nextDue(), state.retention.nextDue());
    if (next === Number.POSITIVE_INFINITY) return;
    const wait = next - clock.now();
    if (wait <= 0) this.expire();
    else this.sleep(next, wait);
  }

  private sleep(until: number, wait: number): void {
    if (this.timer && this.timerAt <= until) return;
    this.timer?.cancel();
    this.timerAt = until;
    this.timer = this.deps.timers.after(Math.min(wait, limits.timerMsMax), () => {
      this.timer = null;
      this.timerAt = Number.POSITIVE_INFINITY;
      this.look();
    });
  }

  private expire(): void {
    this.expiring = true;
    const over = () => {
      this.expiring = false;
    };
    // What is left is looked at when the turn of applying that answers this is over.
    const command = { kind: "expire", limit: limits.stepTasks } as const;
    this.deps.submit(command, { done: over, failed: over });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }
}
