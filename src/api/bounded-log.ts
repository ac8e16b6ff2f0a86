/**
 * One line in the log for each event of a kind that clients can bring about: a request or stream that
 * was refused, or was slow; with its id, never with what it held. A client that is refused all day must
 * not fill the disk: beyond so many lines a second the rest is counted, and the count is told when the
 * second is over.
 */
import type { Clock, LogFields, Logger, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";

export interface BoundedLogDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly timers: Timers;
}

const windowMs = 1_000;

export class BoundedLog {
  private readonly deps: BoundedLogDeps;
  private readonly restText: string;
  private windowEndMs = 0;
  private lines = 0;
  private left = 0;

  /** @param restText - of the line with the count of those that got none */
  constructor(deps: BoundedLogDeps, restText: string) {
    this.deps = deps;
    this.restText = restText;
  }

  note(text: string, fields: LogFields): void {
    const now = this.deps.clock.monotonicMs();
    if (now >= this.windowEndMs) {
      this.windowEndMs = now + windowMs;
      this.lines = 0;
    }
    if (this.lines < limits.boundedLines) {
      this.lines++;
      this.deps.logger.info(text, fields);
      return;
    }
    if (this.left++ === 0) this.deps.timers.after(this.windowEndMs - now, () => this.tellRest());
  }

  private tellRest(): void {
    const count = this.left;
    this.left = 0;
    this.deps.logger.info(this.restText, { count });
  }
}

/** The two kinds that an edge has. */
export interface EdgeLogs {
  readonly refusals: BoundedLog;
  readonly slow: BoundedLog;
}

export function createEdgeLogs(deps: BoundedLogDeps): EdgeLogs {
  return {
    refusals: new BoundedLog(deps, "more was refused"),
    slow: new BoundedLog(deps, "more was slow"),
  };
}
