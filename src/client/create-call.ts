/** A call of a producer's user on its way, and the queue of those that wait for a frame. */
import { limits } from "../base/limits.ts";
import type { SentFrame, StreamPart } from "./create-frame.ts";
import { type EncodedOptions, keyedGroup } from "./create-input.ts";
import type { QuorumQError } from "./errors.ts";

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

/** Tasks of one call with the same options. */
export interface Part {
  readonly call: CreateCall;
  readonly options: EncodedOptions;
  readonly payloads: readonly Uint8Array[];
  /** Place in the call of the first one. */
  readonly place: number;
  /** How many of them are in frames. */
  taken: number;
}

/** What a frame carries of a part. */
export interface Segment extends StreamPart {
  readonly part: Part;
}

/** A frame and whose tasks it carries. */
export interface FrameInWork {
  readonly segments: readonly Segment[];
  /** Whether each of its tasks has a key. */
  readonly isKeyed: boolean;
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
    const key = part.options.group;
    const group = this.groups.get(key);
    if (group === undefined) this.groups.set(key, [part]);
    else group.push(part);
    let bytes = 0;
    for (const payload of part.payloads) bytes += payload.length;
    this.tasks += part.payloads.length;
    this.bytes += bytes;
    part.call.waitingTasks += part.payloads.length;
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
    const segments: Segment[] = [];
    const room: Room = { tasks: limits.runTasks, bytes: limits.clientFrameBytes };
    let done = 0;
    for (const part of group) {
      if (!part.call.isOver) {
        const segment = this.takeFrom(part, room);
        if (segment !== null) segments.push(segment);
        if (part.taken < part.payloads.length) break;
      }
      done++;
    }
    group.splice(0, done);
    const [first] = segments;
    if (first === undefined) return null;
    const isKeyed = first.options.group === keyedGroup;
    const frame: FrameInWork = { segments, isKeyed, sent: null };
    for (const { part } of segments) part.call.frames.add(frame);
    return frame;
  }

  private takeFrom(part: Part, room: Room): Segment | null {
    const { call, options, payloads } = part;
    const from = part.taken;
    let bytes = 0;
    while (part.taken < payloads.length && room.tasks > 0) {
      const size = payloads[part.taken]?.length ?? 0;
      // One that alone is too large goes alone.
      if (size > room.bytes && room.tasks < limits.runTasks) break;
      part.taken++;
      room.tasks--;
      room.bytes -= size;
      bytes += size;
    }
    const count = part.taken - from;
    this.tasks -= count;
    this.bytes -= bytes;
    call.waitingTasks -= count;
    call.waitingBytes -= bytes;
    return count === 0 ? null : { part, options, fields: options.fields, payloads, from, count };
  }
}

/** What a frame still takes. */
interface Room {
  tasks: number;
  bytes: number;
}
