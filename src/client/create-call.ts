/** A call of a producer's user on its way, and the queue of those that wait for a frame. */
import type { CreateInput } from "../api/create-coder.ts";
import { limits } from "../base/limits.ts";
import type { QuorumQError } from "./errors.ts";
import type { SentFrame } from "./producer-stream.ts";

/** What became of one task. */
export type EnqueueOutcome =
  | {
      readonly kind: "created";
      readonly id: string;
      /** The idempotency key's task existed already, with the same request. */
      readonly duplicate: boolean;
    }
  | { readonly kind: "refused"; readonly error: QuorumQError };

export type CallEnd =
  | { readonly kind: "answered"; readonly outcomes: readonly EnqueueOutcome[] }
  | { readonly kind: "failed"; readonly error: QuorumQError };

/** One call: its tasks may travel in several frames. */
export class CreateCall {
  readonly deadlineMs: number;
  readonly frames = new Set<FrameInWork>();
  /** Tasks and bytes that are in no frame yet. */
  waitingTasks = 0;
  waitingBytes = 0;
  isOver = false;
  private readonly outcomes: EnqueueOutcome[];
  private readonly end: (end: CallEnd) => void;
  private left: number;

  constructor(count: number, deadlineMs: number, end: (end: CallEnd) => void) {
    this.outcomes = new Array<EnqueueOutcome>(count);
    this.left = count;
    this.deadlineMs = deadlineMs;
    this.end = end;
  }

  /** Whether some of its tasks have their outcome. */
  get isBegun(): boolean {
    return this.left < this.outcomes.length;
  }

  /** @returns whether this was the last outcome: the call has then ended */
  settle(place: number, outcome: EnqueueOutcome): boolean {
    this.outcomes[place] = outcome;
    if (--this.left > 0) return false;
    this.isOver = true;
    this.end({ kind: "answered", outcomes: this.outcomes });
    return true;
  }

  fail(error: QuorumQError): void {
    this.isOver = true;
    this.end({ kind: "failed", error });
  }
}

/** Tasks of one call that may share a frame. */
export interface Part {
  readonly call: CreateCall;
  readonly tasks: readonly CreateInput[];
  /** Place of each task in the call; null = the same place. */
  readonly places: readonly number[] | null;
  /** How many of them are in frames. */
  taken: number;
}

export interface Segment {
  readonly part: Part;
  readonly from: number;
  readonly count: number;
}

/** A frame and whose tasks it carries. */
export interface FrameInWork {
  readonly segments: readonly Segment[];
  readonly tasks: readonly CreateInput[];
  sent: SentFrame | null;
}

/**
 * Parts that wait, by what may share a frame: one queue and priority, or keys. Groups take turns,
 * so that one busy queue does not hold up the others.
 */
export class WaitingParts {
  tasks = 0;
  bytes = 0;
  private readonly groups = new Map<string, Part[]>();

  add(part: Part): void {
    const key = groupOf(part.tasks[0]);
    const group = this.groups.get(key);
    if (group === undefined) this.groups.set(key, [part]);
    else group.push(part);
    let bytes = 0;
    for (const task of part.tasks) bytes += task.payload.length;
    this.tasks += part.tasks.length;
    this.bytes += bytes;
    part.call.waitingTasks += part.tasks.length;
    part.call.waitingBytes += bytes;
  }

  /** Forgets what waits of a call that is over. */
  release(call: CreateCall): void {
    this.tasks -= call.waitingTasks;
    this.bytes -= call.waitingBytes;
    call.waitingTasks = 0;
    call.waitingBytes = 0;
  }

  /** The next frame's worth of tasks, in the order of the calls; null when nothing waits. */
  take(): FrameInWork | null {
    for (const [key, group] of this.groups) {
      this.groups.delete(key);
      const frame = this.fill(group);
      // Behind the other groups: a Map goes in the order of insertion.
      if (group.length > 0) this.groups.set(key, group);
      if (frame !== null) return frame;
    }
    return null;
  }

  private fill(group: Part[]): FrameInWork | null {
    const tasks: CreateInput[] = [];
    const segments: Segment[] = [];
    let bytes = 0;
    let done = 0;
    for (const part of group) {
      const from = part.taken;
      if (!part.call.isOver) {
        bytes = this.takeFrom(part, tasks, bytes);
        const count = part.taken - from;
        if (count > 0) segments.push({ part, from, count });
        if (part.taken < part.tasks.length) break;
      }
      done++;
    }
    group.splice(0, done);
    if (tasks.length === 0) return null;
    const frame: FrameInWork = { tasks, segments, sent: null };
    for (const { part } of segments) part.call.frames.add(frame);
    return frame;
  }

  /** @returns payload bytes of the frame so far */
  private takeFrom(part: Part, tasks: CreateInput[], before: number): number {
    const { call } = part;
    let bytes = before;
    while (part.taken < part.tasks.length && tasks.length < limits.runTasks) {
      const task = part.tasks[part.taken] as CreateInput;
      const size = task.payload.length;
      if (tasks.length > 0 && bytes + size > limits.clientFrameBytes) break;
      tasks.push(task);
      part.taken++;
      bytes += size;
      this.tasks--;
      this.bytes -= size;
      call.waitingTasks--;
      call.waitingBytes -= size;
    }
    return bytes;
  }
}

function groupOf(task: CreateInput | undefined): string {
  if (task === undefined || task.idempotencyKey !== undefined) return "";
  return `${task.priority ?? 0}${task.queue}`;
}
