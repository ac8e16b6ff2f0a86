/**
 * The scrub: every table of a store is verified once a day, slowly, because bit rot that nobody
 * reads is found when it is needed (FAULTS S10). Before a store is opened the newest tables are
 * verified at once, within a budget of bytes, before a compaction can hide what is wrong in them.
 */
import type { Clock, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { Files } from "./files.ts";
import { StorageError } from "./kv.ts";
import { checkTable, tableFiles } from "./table-check.ts";

/**
 * Verifies the newest tables of a store that is not open.
 * @param turn - called after each: a node that takes in a state goes on with its other shards
 * @throws StorageError corrupt
 */
export async function checkTablesAtStart(
  files: Files,
  path: string,
  bytesMax: number,
  turn: () => Promise<void>,
): Promise<void> {
  let bytes = 0;
  for (const table of tableFiles(files, path).reverse()) {
    bytes += files.sizeSync(table);
    if (bytes > bytesMax) return;
    checkTable(files, table);
    await turn();
  }
}

export interface ScrubDeps {
  readonly files: Files;
  readonly clock: Clock;
  readonly timers: Timers;
  /** A damaged table was found: the store must not be used any more. */
  readonly onCorrupt: (error: unknown) => void;
}

export interface Scrub {
  /** Bytes verified since the start, and whole rounds. */
  readonly bytes: number;
  readonly rounds: number;
  stop(): void;
}

/** Starts to scrub the stores at these paths, one after another, over and over. */
export function startScrub(deps: ScrubDeps, paths: () => readonly string[]): Scrub {
  return new Scrubber(deps, paths);
}

class Scrubber implements Scrub {
  private readonly deps: ScrubDeps;
  private readonly paths: () => readonly string[];
  private waiting: string[] = [];
  private roundStartedMs = 0;
  private timer: TimerHandle | null = null;
  bytes = 0;
  rounds = 0;

  constructor(deps: ScrubDeps, paths: () => readonly string[]) {
    this.deps = deps;
    this.paths = paths;
    this.startRound(limits.scrubDelayMs);
  }

  private startRound(delayMs: number): void {
    this.sleep(delayMs, () => {
      this.roundStartedMs = this.deps.clock.monotonicMs();
      this.waiting = this.paths().flatMap((path) => tableFiles(this.deps.files, path));
      this.next();
    });
  }

  private sleep(ms: number, then: () => void): void {
    this.timer = this.deps.timers.after(Math.min(ms, limits.timerMsMax), () => {
      if (ms > limits.timerMsMax) this.sleep(ms - limits.timerMsMax, then);
      else then();
    });
  }

  private next(): void {
    const table = this.waiting.pop();
    if (table === undefined) {
      this.rounds++;
      const tookMs = this.deps.clock.monotonicMs() - this.roundStartedMs;
      this.startRound(Math.max(0, limits.scrubRoundMs - tookMs));
      return;
    }
    const size = this.check(table);
    if (size < 0) return;
    this.bytes += size;
    this.sleep((size / limits.scrubBytesPerSecond) * 1000 + 1, () => this.next());
  }

  /** @returns its bytes; 0 if a compaction has removed it; -1 if it is damaged */
  private check(table: string): number {
    const { files, onCorrupt } = this.deps;
    try {
      const size = files.sizeSync(table);
      checkTable(files, table);
      return size;
    } catch (error) {
      // A table may go at any moment: its rows are in another one then.
      if (error instanceof StorageError && error.code === "missing") return 0;
      onCorrupt(error);
      return -1;
    }
  }

  stop(): void {
    this.timer?.cancel();
  }
}
