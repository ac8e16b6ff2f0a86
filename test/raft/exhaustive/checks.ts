/** The promises of figure 3 of the Raft paper, for the replicas of one moment and all that was committed. */
import type { LocalView } from "./local.ts";

/** What was committed anywhere and ever: entries in order, each with the term that did it. */
export interface History {
  readonly entries: readonly string[];
  readonly terms: readonly number[];
}

export const emptyHistory: History = { entries: [], terms: [] };

/** @returns what is broken, "" if nothing is */
export function checkPair(one: LocalView, other: LocalView): string {
  if (one.isLeader && other.isLeader && one.term === other.term) {
    return `election safety: ${one.id} and ${other.id} lead term ${one.term}`;
  }
  const shorter = Math.min(one.log.length, other.log.length);
  let differs = -1;
  for (let i = 0; i < shorter; i++) {
    const isEqual = one.log[i] === other.log[i];
    if (!isEqual && differs < 0) differs = i;
    const isSameTerm = termOf(one.log[i]) === termOf(other.log[i]);
    if (isSameTerm && differs >= 0) {
      return `log matching: ${one.id} and ${other.id} agree at ${i + 1}, not at ${differs + 1}`;
    }
  }
  return "";
}

/**
 * State machine safety: what this replica has committed is the history's, which grows by it.
 * @returns what is broken, or the history from now on
 */
export function extendHistory(history: History, view: LocalView): History | string {
  const known = Math.min(history.entries.length, view.commit);
  for (let i = 0; i < known; i++) {
    if (history.entries[i] !== view.log[i]) {
      return `state machine safety: ${view.id} applies ${view.log[i]} at ${i + 1}, not ${history.entries[i]}`;
    }
  }
  if (view.commit <= history.entries.length) return history;
  const fresh = view.log.slice(history.entries.length, view.commit);
  return {
    entries: [...history.entries, ...fresh],
    terms: [...history.terms, ...fresh.map(() => view.term)],
  };
}

/** Leader completeness: what earlier terms have committed is in this leader's log. */
export function checkLeader(history: History, view: LocalView): string {
  if (!view.isLeader) return "";
  for (const [i, entry] of history.entries.entries()) {
    if ((history.terms[i] ?? 0) > view.term || view.log[i] === entry) continue;
    return `leader completeness: ${view.id} leads term ${view.term} without ${entry} at ${i + 1}`;
  }
  return "";
}

/** How many entries of the history, from the first on, are on this replica's disk. */
export function durableOf(history: History, view: LocalView): number {
  const differs = history.entries.findIndex((entry, i) => view.disk[i] !== entry);
  return differs < 0 ? history.entries.length : differs;
}

function termOf(entry: string | undefined): string {
  return entry?.slice(0, entry.indexOf(":")) ?? "";
}
