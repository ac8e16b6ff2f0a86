/**
 * Leader time: the only time that enters the log. It follows the monotonic clock, so a jump of the
 * wall clock expires nothing; it drifts towards the wall clock by at most 0.5 %; a leader's never
 * goes back.
 */
import type { Clock } from "../base/effects.ts";

const slewRate = 0.005;

export interface LeaderClock {
  /** Integer ms since 1970. */
  now(): number;
  /** An entry with this leader time was seen: time goes on from it, if it is ahead. */
  observe(timeMs: number): void;
  /**
   * The leader's clock shows this: a replica that follows goes on from it, so that it can lead on
   * from there and a wrong wall clock of its own stays without effect.
   */
  follow(timeMs: number): void;
}

/** @param lastEntryMs - leader time of the last entry known, 0 = none */
export function createLeaderClock(clock: Clock, lastEntryMs: number): LeaderClock {
  let time = Math.max(lastEntryMs, clock.wallMs());
  let monotonic = clock.monotonicMs();

  function advance(): void {
    const now = clock.monotonicMs();
    const elapsed = now - monotonic;
    if (elapsed <= 0) return;
    monotonic = now;
    time += elapsed;
    const error = clock.wallMs() - time;
    const most = elapsed * slewRate;
    time += Math.max(-most, Math.min(most, error));
  }

  return {
    now() {
      advance();
      return Math.floor(time);
    },
    observe(timeMs) {
      advance();
      if (timeMs > time) time = timeMs;
    },
    follow(timeMs) {
      monotonic = clock.monotonicMs();
      time = timeMs;
    },
  };
}
