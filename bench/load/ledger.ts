/**
 * What became of every task of a run: numbered from 0 on, one byte of flags and one time per task,
 * kept in blocks, so that ten million tasks take 50 MB and nothing is allocated per task.
 *
 * | flag | set by |
 * | created | an ok ack of its create |
 * | delivered, redelivered | its first delivery, a second one |
 * | completed, completedTwice | an ok ack of its result, a second one |
 *
 * A cycle counts once both its create and its result were acknowledged, in either order.
 */
import type { LatencyHistogram } from "../measure/histogram.ts";

const flags = {
  created: 1,
  delivered: 2,
  redelivered: 4,
  completed: 8,
  completedTwice: 16,
} as const;

const blockBits = 16;
const blockTasks = 2 ** blockBits;
const blockMask = blockTasks - 1;
/** 134 million tasks: longer runs than any scenario has. */
const blocksMax = 2048;

interface Block {
  readonly flags: Uint8Array;
  /** When its create was sent, microseconds modulo 2^32. */
  readonly sentUs: Uint32Array;
}

export interface LedgerCounts {
  /** Tasks whose create was sent. */
  readonly sent: number;
  /** Tasks whose create was acknowledged. */
  readonly created: number;
  /** Tasks whose result was acknowledged. */
  readonly completed: number;
  /** Tasks with both. */
  readonly cycles: number;
  readonly redelivered: number;
  readonly completedTwice: number;
  /** Deliveries of tasks that nobody sent. */
  readonly unknown: number;
}

export class Ledger implements LedgerCounts {
  sent = 0;
  created = 0;
  completed = 0;
  cycles = 0;
  redelivered = 0;
  completedTwice = 0;
  unknown = 0;
  private readonly blocks: Block[] = [];
  private readonly endToEnd: LatencyHistogram;

  /**
   * @param endToEnd - takes the time from create sent to result acknowledged
   * @param existing - tasks of an earlier run, created already, numbered from 0 on
   */
  constructor(endToEnd: LatencyHistogram, existing = 0) {
    this.endToEnd = endToEnd;
    if (existing === 0) return;
    this.send(existing, 0);
    for (let i = 0; i < existing; i++) this.mark(i, flags.created);
    this.created = existing;
  }

  /** Tasks sent whose result is not acknowledged. */
  get pending(): number {
    return this.sent - this.completed;
  }

  /** Notes that the next `count` tasks are sent now. @returns the first of their numbers */
  send(count: number, nowUs: number): number {
    const first = this.sent;
    this.sent += count;
    while (this.blocks.length * blockTasks < this.sent) this.grow();
    for (let i = first; i < this.sent; i++) {
      (this.blocks[i >>> blockBits] as Block).sentUs[i & blockMask] = nowUs;
    }
    return first;
  }

  /** When a task's create was sent, microseconds modulo 2^32. */
  sentUs(task: number): number {
    return (this.blocks[task >>> blockBits] as Block).sentUs[task & blockMask] as number;
  }

  /** Whether a task's create was acknowledged. */
  isCreated(task: number): boolean {
    const block = this.blocks[task >>> blockBits] as Block;
    return ((block.flags[task & blockMask] as number) & flags.created) !== 0;
  }

  createAcked(task: number): void {
    const before = this.mark(task, flags.created);
    if ((before & flags.created) !== 0) return;
    this.created++;
    if ((before & flags.completed) !== 0) this.cycles++;
  }

  delivered(task: number): void {
    if (!(task >= 0 && task < this.sent)) {
      this.unknown++;
      return;
    }
    const before = this.mark(task, flags.delivered);
    if ((before & flags.delivered) === 0) return;
    if ((before & flags.redelivered) === 0) this.redelivered++;
    this.mark(task, flags.redelivered);
  }

  resultAcked(task: number, nowUs: number): void {
    if (!(task >= 0 && task < this.sent)) return;
    const before = this.mark(task, flags.completed);
    if ((before & flags.completed) !== 0) {
      if ((before & flags.completedTwice) === 0) this.completedTwice++;
      this.mark(task, flags.completedTwice);
      return;
    }
    this.completed++;
    if ((before & flags.created) !== 0) this.cycles++;
    this.endToEnd.record(((nowUs >>> 0) - this.sentUs(task)) >>> 0);
  }

  /** Numbers of the first tasks that were created and have no result: lost ones, after a drain. */
  unfinished(atMost: number): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.sent && found.length < atMost; i++) {
      const state = (this.blocks[i >>> blockBits] as Block).flags[i & blockMask];
      const both = flags.created | flags.completed;
      if (((state as number) & both) === flags.created) found.push(i);
    }
    return found;
  }

  counts(): LedgerCounts {
    const { sent, created, completed, cycles, redelivered, completedTwice, unknown } = this;
    return { sent, created, completed, cycles, redelivered, completedTwice, unknown };
  }

  /** @returns the flags before */
  private mark(task: number, flag: number): number {
    const block = this.blocks[task >>> blockBits] as Block;
    const at = task & blockMask;
    const before = block.flags[at] as number;
    block.flags[at] = before | flag;
    return before;
  }

  private grow(): void {
    if (this.blocks.length >= blocksMax) throw new Error("the run has too many tasks to track");
    this.blocks.push({
      flags: new Uint8Array(blockTasks),
      sentUs: new Uint32Array(blockTasks),
    });
  }
}
