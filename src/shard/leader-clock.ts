/**
 * Leader time: the only time that enters the log. It follows the monotonic clock, so a jump of the
 * wall clock expires nothing; it drifts towards the wall clock by at most 0.5 %; a leader's never
 * goes back.
 */
import type { Clock } from "../base/effects.ts";

const slewRate = 0.005;
/** Ms: a message is compared with those of its span and of the one before; clocks drift apart in it. */
const spanMs = 2_000;

export interface LeaderClock {
  /** Integer ms since 1970. */
  now(): number;
  /** An entry with this leader time was seen: time goes on from it, if it is ahead. */
  observe(timeMs: number): void;
  /**
   * The leader's clock showed this when it sent the message: a replica that follows goes on from it,
   * so that it can lead on from there and a wrong wall clock of its own stays without effect. Of what
   * came within the last seconds the message that was the least late counts.
   * @param term - the leader's
   */
  follow(timeMs: number, term: number): void;
}

/** @param lastEntryMs - leader time of the last entry known, 0 = none */
export function createLeaderClock(clock: Clock, lastEntryMs: number): LeaderClock {
  let time = Math.max(lastEntryMs, clock.wallMs());
  let monotonic = clock.monotonicMs();
  const heard = new LeastLate();

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
    follow(timeMs, term) {
      monotonic = clock.monotonicMs();
      time = monotonic + heard.offset(timeMs, term, monotonic);
    },
  };
}

/** How far a leader's clock is ahead of this process's monotonic one, by its messages. */
class LeastLate {
  private term = 0;
  private fromMs = 0;
  private now = Number.NEGATIVE_INFINITY;
  private before = Number.NEGATIVE_INFINITY;

  offset(timeMs: number, term: number, nowMs: number): number {
    const offset = timeMs - nowMs;
    if (term !== this.term || nowMs - this.fromMs >= spanMs) {
      this.before = term === this.term ? this.now : offset;
      this.now = offset;
      this.term = term;
      this.fromMs = nowMs;
    } else this.now = Math.max(this.now, offset);
    return Math.max(this.now, this.before);
  }
}
