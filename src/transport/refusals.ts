/** Remembers what was told of refusals: each address and reason at most once a minute. */
import { limits } from "../base/limits.ts";
import type { RefusalReason } from "./transport.ts";

export class Refusals {
  /** When each was told last, the oldest first. */
  private readonly told = new Map<string, number>();

  /** @returns whether to tell it now */
  note(address: string, reason: RefusalReason, nowMs: number): boolean {
    const key = `${reason} ${address}`;
    const before = this.told.get(key);
    if (before !== undefined && nowMs - before < limits.refusalMs) return false;
    for (const [old, atMs] of this.told) {
      if (nowMs - atMs < limits.refusalMs) break;
      this.told.delete(old);
    }
    // Addresses can be made up: with the table full, new ones are not told.
    if (this.told.size >= limits.refusals && before === undefined) return false;
    this.told.delete(key);
    this.told.set(key, nowMs);
    return true;
  }
}
