/**
 * One line in the log for each request or stream that was refused, with its id and code, never with
 * what it held. A client that is refused all day must not fill the disk: beyond so many lines a
 * second the rest is counted, and the count is told when the second is over.
 */
import type { Clock, LogFields, Logger, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";

export interface RefusalLogDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly timers: Timers;
}

const windowMs = 1_000;

export class RefusalLog {
  private readonly deps: RefusalLogDeps;
  private windowEndMs = 0;
  private lines = 0;
  private left = 0;

  constructor(deps: RefusalLogDeps) {
    this.deps = deps;
  }

  note(text: string, fields: LogFields): void {
    const now = this.deps.clock.monotonicMs();
    if (now >= this.windowEndMs) {
      this.windowEndMs = now + windowMs;
      this.lines = 0;
    }
    if (this.lines < limits.refusalLines) {
      this.lines++;
      this.deps.logger.info(text, fields);
      return;
    }
    if (this.left++ === 0) this.deps.timers.after(this.windowEndMs - now, () => this.tellRest());
  }

  private tellRest(): void {
    const count = this.left;
    this.left = 0;
    this.deps.logger.info("more was refused", { count });
  }
}
