/**
 * What nodes without replicas of each other's shards say about work (work-watch.ts, work-teller.ts),
 * as frames of the node on the bulk channel, in their order with the answers of claims.
 *
 *   watch   varint ask (0: none), added queues, dropped queues
 *   work    answered asks, then per queue its name and ten counts of ready tasks
 *
 * A queue is its tenant and its name, "" for any; lists have their length as a varint first.
 */
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import type { ToldWork } from "./work-source.ts";

/** Frames of the node, beside those of peer-calls.ts. */
export const workFrames = { watch: 18, work: 19 } as const;

export interface WatchedQueue {
  readonly tenant: string;
  /** A name, or `anyQueue`. */
  readonly queue: string;
}

export interface WatchFrame {
  /** Number of a question that the next word answers; 0 = none. */
  readonly ask: number;
  readonly added: readonly WatchedQueue[];
  readonly dropped: readonly WatchedQueue[];
}

export interface WorkFrame {
  readonly answered: readonly number[];
  readonly works: readonly ToldWork[];
}

const priorities = 10;

export function encodeWatch({ ask, added, dropped }: WatchFrame): Buffer {
  const out = new ByteWriter(32 * (added.length + dropped.length) + 16);
  out.varint(ask);
  for (const list of [added, dropped]) {
    out.varint(list.length);
    for (const { tenant, queue } of list) {
      out.latin1(tenant);
      out.latin1(queue);
    }
  }
  return out.finish();
}

/** @throws DecodeError */
export function decodeWatch(body: Buffer): WatchFrame {
  const input = new ByteReader(body);
  const ask = input.varint();
  const added = readList(input, 2, () => readQueue(input));
  const dropped = readList(input, 2, () => readQueue(input));
  return { ask, added, dropped };
}

function readQueue(input: ByteReader): WatchedQueue {
  return { tenant: input.latin1(), queue: input.latin1() };
}

export function encodeWork({ answered, works }: WorkFrame): Buffer {
  const out = new ByteWriter(48 * works.length + 8 * answered.length + 16);
  out.varint(answered.length);
  for (const ask of answered) out.varint(ask);
  out.varint(works.length);
  for (const { tenant, queue, ready } of works) {
    out.latin1(tenant);
    out.latin1(queue);
    for (const count of ready) out.varint(count);
  }
  return out.finish();
}

/** @throws DecodeError */
export function decodeWork(body: Buffer): WorkFrame {
  const input = new ByteReader(body);
  const answered = readList(input, 1, () => input.varint());
  const works = readList(input, 2 + priorities, () => {
    const { tenant, queue } = readQueue(input);
    return { tenant, queue, ready: Array.from({ length: priorities }, () => input.varint()) };
  });
  return { answered, works };
}

/** @param bytes - that one item takes at the least */
function readList<T>(input: ByteReader, bytes: number, read: () => T): T[] {
  const count = input.varint();
  if (count * bytes > input.left) throw new DecodeError(`${count} items`);
  return Array.from({ length: count }, read);
}
