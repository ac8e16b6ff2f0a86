/**
 * The queues that the waiting Readys of one stream name. Workers name the same ones in each: the list
 * is kept once. What differs is counted, since a Ready may name 256 queues and 4096 of them may wait.
 */
import { limits } from "../../base/limits.ts";
import type { CallFlow } from "./connection-flow.ts";

/** Bytes of memory that a name takes beside its characters. */
const nameBytes = 32;

export class ReadyNames {
  private readonly flow: CallFlow;
  /** Readys that wait, by the list that they share. */
  private readonly used = new Map<readonly string[], number>();
  private last: readonly string[] = [];

  constructor(flow: CallFlow) {
    this.flow = flow;
  }

  /** @returns a list of the same names to be kept; null if there are too many of them already */
  take(names: readonly string[]): readonly string[] | null {
    const list = areEqual(names, this.last) ? this.last : names;
    const count = this.used.get(list) ?? 0;
    if (count === 0) {
      const bytes = bytesOf(list);
      if (this.flow.nameBytes + bytes > limits.grpcNameBytesConnection) return null;
      this.flow.name(bytes);
    }
    this.used.set(list, count + 1);
    this.last = list;
    return list;
  }

  /** A Ready that had the list waits no longer. */
  release(list: readonly string[]): void {
    const count = this.used.get(list) ?? 0;
    if (count > 1) {
      this.used.set(list, count - 1);
    } else if (this.used.delete(list)) {
      this.flow.name(-bytesOf(list));
    }
  }
}

function bytesOf(names: readonly string[]): number {
  let bytes = 0;
  for (const name of names) bytes += name.length + nameBytes;
  return bytes;
}

function areEqual(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}
