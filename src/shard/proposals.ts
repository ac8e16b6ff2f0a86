/**
 * Entries that this node proposed and that are not applied yet, with the sinks of their commands.
 * An entry of another term at an index means that leadership was lost in between.
 */
import { QueueError } from "../base/errors.ts";
import type { Entry } from "../raft/types.ts";
import type { CommandSink } from "./proposer.ts";

interface Proposal {
  readonly term: number;
  readonly sinks: readonly CommandSink[];
}

export class Proposals {
  private readonly byIndex = new Map<number, Proposal>();

  get size(): number {
    return this.byIndex.size;
  }

  add(index: number, term: number, sinks: readonly CommandSink[]): void {
    const replaced = this.byIndex.get(index);
    this.byIndex.set(index, { term, sinks });
    // It was proposed in an earlier term, and is not in the log with which this node came to lead
    // again: nobody would take its sinks any more.
    if (replaced) this.failReplaced(replaced);
  }

  /** The sinks of an entry that is about to be applied, if it is the one proposed here. */
  take(entry: Entry): readonly CommandSink[] | null {
    const proposal = this.byIndex.get(entry.index);
    if (!proposal) return null;
    this.byIndex.delete(entry.index);
    if (proposal.term === entry.term) return proposal.sinks;
    this.failReplaced(proposal);
    return null;
  }

  /** Another entry stands in its place: it has not happened, for certain. */
  private failReplaced({ sinks }: Proposal): void {
    const error = new QueueError("no_leader", "leadership was lost", { retryAfterSeconds: 1 });
    for (const sink of sinks) sink.failed(error);
  }

  /** Gives up waiting for entries of these terms. */
  failUpTo(term: number, text: string): void {
    for (const [index, proposal] of this.byIndex) {
      if (proposal.term > term) continue;
      this.byIndex.delete(index);
      failSinks(proposal.sinks, text);
    }
  }

  /** Nobody will learn what became of them. */
  failAll(text: string): void {
    for (const { sinks } of this.byIndex.values()) failSinks(sinks, text);
    this.byIndex.clear();
  }
}

function failSinks(sinks: readonly CommandSink[], text: string): void {
  const error = new QueueError("unknown_outcome", text);
  for (const sink of sinks) sink.failed(error);
}
