/**
 * The proposer: collects what arrives while the previous write is on its way and makes one entry
 * of it. It numbers new tasks: creates of many senders for one queue and priority share a run, in
 * the order of their arrival.
 */
import type { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { type RunKeySource, runKeyBytes } from "../base/task-id.ts";
import type { Command, CommandResult, CreateResult } from "../queue/command.ts";
import { commandOverheadBytes, EntryWriter } from "../queue/command-codec.ts";

/** New tasks of one sender, one queue and one priority. */
export interface CreateDraft {
  readonly tenant: string;
  readonly queue: string;
  readonly priority: number;
  /** 1..256 */
  readonly count: number;
  readonly records: Buffer;
  /** Tells the sender. `firstPlace` is the place of its first task in the run. */
  done(result: CreateResult, runKey: Buffer, firstPlace: number): void;
  failed(error: QueueError): void;
}

/** Where the result of a logged command goes, on the node that proposed it. Must not throw. */
export interface CommandSink {
  done(result: CommandResult): void;
  /** The command was not logged, or nobody knows whether it was (unknown_outcome). */
  failed(error: QueueError): void;
}

/** For commands whose result nobody waits for. */
export const silentSink: CommandSink = { done: () => undefined, failed: () => undefined };

/** An entry ready to be proposed, with a sink per command. */
export interface ProposedEntry {
  readonly data: Buffer;
  readonly sinks: readonly CommandSink[];
}

/** A run in the making: one create command of several drafts. */
class RunDraft implements CommandSink {
  readonly drafts: CreateDraft[] = [];
  readonly key = Buffer.allocUnsafe(runKeyBytes);
  count = 0;
  bytes = 0;

  add(draft: CreateDraft): void {
    this.drafts.push(draft);
    this.count += draft.count;
    this.bytes += draft.records.length;
  }

  command(): Command {
    const first = this.drafts[0] as CreateDraft;
    const records =
      this.drafts.length === 1
        ? first.records
        : Buffer.concat(
            this.drafts.map((draft) => draft.records),
            this.bytes,
          );
    const { tenant, queue, priority } = first;
    const { key, count } = this;
    return { kind: "create", tenant, queue, priority, key, count, requestHash: null, records };
  }

  done(result: CommandResult): void {
    let place = 0;
    for (const draft of this.drafts) {
      if (result.kind === "created") draft.done(sliceOf(result, place, draft), this.key, place);
      place += draft.count;
    }
  }

  failed(error: QueueError): void {
    for (const draft of this.drafts) draft.failed(error);
  }
}

/** The part of a run's result that concerns one draft. */
function sliceOf(result: CreateResult, place: number, draft: CreateDraft): CreateResult {
  if (result.runAt === null) return result;
  return { ...result, runAt: result.runAt.subarray(place, place + draft.count) };
}

interface Waiting {
  readonly sink: CommandSink;
  /** null = the sink is a RunDraft that makes the command when the entry is built. */
  readonly command: Command | null;
  readonly bytes: number;
}

/** Bytes of a command beside its bulk: names, ids and lengths. */
const commandBytes = 400;

export class Proposer {
  private readonly keys: RunKeySource;
  private waiting: Waiting[] = [];
  private openRuns = new Map<string, RunDraft>();
  private waitingBytes = 0;

  constructor(keys: RunKeySource) {
    this.keys = keys;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /** Whether so much more can be taken; otherwise the caller answers `overloaded`. */
  hasRoom(bytes: number): boolean {
    return (
      this.waitingBytes + bytes <= limits.proposerBytes &&
      this.waiting.length < limits.proposerCommands
    );
  }

  add(command: Command, bulkBytes: number, sink: CommandSink): void {
    const bytes = bulkBytes + commandBytes;
    this.waitingBytes += bytes;
    this.waiting.push({ sink, command, bytes });
  }

  addCreate(draft: CreateDraft): void {
    const bytes = draft.records.length;
    this.waitingBytes += bytes;
    const group = `${draft.tenant}\0${draft.queue}\0${draft.priority}`;
    let run = this.openRuns.get(group);
    const fits =
      run &&
      run.count + draft.count <= limits.runTasks &&
      run.bytes + bytes <= limits.entryBytes - commandBytes;
    if (!run || !fits) {
      run = new RunDraft();
      this.openRuns.set(group, run);
      this.waitingBytes += commandBytes;
      this.waiting.push({ sink: run, command: null, bytes: commandBytes });
    }
    run.add(draft);
  }

  /**
   * Takes what waits, as far as it fits into one entry.
   * @returns null when nothing waits
   */
  take(leaderTimeMs: number): ProposedEntry | null {
    if (this.waiting.length === 0) return null;
    let bytes = 0;
    let count = 0;
    for (const item of this.waiting) {
      const size = sizeOf(item);
      if (count === limits.entryCommands) break;
      if (count > 0 && bytes + size > limits.entryBytes) break;
      bytes += size;
      count++;
    }
    const taken = count === this.waiting.length ? this.waiting : this.waiting.slice(0, count);
    this.waiting = count === this.waiting.length ? [] : this.waiting.slice(count);
    this.waitingBytes = this.waiting.length === 0 ? 0 : this.waitingBytes - bytes;
    this.openRuns.clear();
    const entry = new EntryWriter(leaderTimeMs, bytes + count * commandOverheadBytes + 64);
    const sinks: CommandSink[] = [];
    for (const { sink, command } of taken) {
      entry.add(command ?? this.numbered(sink as RunDraft, leaderTimeMs));
      sinks.push(sink);
    }
    return { data: entry.finish(), sinks };
  }

  private numbered(run: RunDraft, leaderTimeMs: number): Command {
    this.keys.next(leaderTimeMs, run.key, 0);
    return run.command();
  }

  /** Gives everything that waits the error. */
  failAll(error: QueueError): void {
    const { waiting } = this;
    this.waiting = [];
    this.waitingBytes = 0;
    this.openRuns.clear();
    for (const { sink } of waiting) sink.failed(error);
  }
}

function sizeOf(item: Waiting): number {
  return item.command === null ? item.bytes + (item.sink as RunDraft).bytes : item.bytes;
}
