/**
 * Linearizability of one object (FAULTS 3.11): the search of Wing, Gong and Lowe. Operations whose
 * outcome nobody knows may have happened at any time since, or never.
 */

export interface Operation<State> {
  readonly what: string;
  readonly calledUs: number;
  /** Infinity: it was never answered. */
  readonly answeredUs: number;
  /** The states in which it may leave the object, each as a text that names it; empty: it cannot. */
  readonly step: (state: State) => readonly State[];
}

export type Verdict = "linearizable" | "not linearizable" | "unknown";

/** States looked at: more is told as unknown. */
const statesMax = 200_000;

/** @param nameOf - equal for equal states */
export function linearize<State>(
  operations: readonly Operation<State>[],
  first: State,
  nameOf: (state: State) => string,
): Verdict {
  const ordered = [...operations].sort((a, b) => a.calledUs - b.calledUs);
  const known = ordered.map(({ answeredUs }) => Number.isFinite(answeredUs));
  const done = ordered.map(() => false);
  const seen = new Set<string>();
  let left = known.filter(Boolean).length;
  let looks = 0;
  /** Whether what is left can follow in some order. */
  const search = (state: State): boolean => {
    if (left === 0) return true;
    const current = nameOf(state);
    const name = `${done.map(Number).join("")} ${current}`;
    if (seen.has(name) || ++looks > statesMax) return false;
    seen.add(name);
    // Whatever was called after the first answer that is still to come happened after it.
    let until = Number.POSITIVE_INFINITY;
    for (const [i, { answeredUs }] of ordered.entries()) {
      if (!done[i]) until = Math.min(until, answeredUs);
    }
    for (const [i, { calledUs, step }] of ordered.entries()) {
      if (calledUs > until) break;
      if (done[i]) continue;
      const next = step(state);
      const changes = next.filter((one) => nameOf(one) !== current);
      // What changes nothing may as well happen now; what may never have happened need not.
      const isFree = known[i] === true && changes.length < next.length;
      done[i] = true;
      if (known[i]) left--;
      for (const one of isFree ? [state, ...changes] : changes) if (search(one)) return true;
      if (known[i]) left++;
      done[i] = false;
      if (isFree && changes.length === 0) return false;
    }
    return false;
  };
  if (search(first)) return "linearizable";
  return looks > statesMax ? "unknown" : "not linearizable";
}
