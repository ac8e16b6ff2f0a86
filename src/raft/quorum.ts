/**
 * Majorities, and pairs of majorities for joint consensus (Raft paper 5.2, thesis 4.3).
 * A set without voters agrees to everything, so that an absent second half does not matter.
 */
import type { StoreId } from "../base/brand.ts";

export type VoteResult = "pending" | "lost" | "won";

/** What a voter has acknowledged; 0 or undefined = nothing yet. */
export type AckOf = (id: StoreId) => number | undefined;
/** How a voter voted; undefined = not yet. */
export type VoteOf = (id: StoreId) => boolean | undefined;

export function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** The highest value that a majority has reached; Infinity without voters. */
export function committedIndex(voters: readonly StoreId[], ackOf: AckOf): number {
  const count = voters.length;
  if (count === 0) return Number.POSITIVE_INFINITY;
  if (count === 1) return ackOf(voters[0] as StoreId) ?? 0;
  const acks: number[] = [];
  for (const id of voters) {
    // Insertion keeps the few values (seven at most) sorted, lowest first.
    const ack = ackOf(id) ?? 0;
    let at = acks.length;
    while (at > 0 && (acks[at - 1] as number) > ack) at--;
    acks.splice(at, 0, ack);
  }
  return acks[count - majorityOf(count)] as number;
}

export function jointCommittedIndex(
  voters: readonly StoreId[],
  outgoing: readonly StoreId[],
  ackOf: AckOf,
): number {
  return Math.min(committedIndex(voters, ackOf), committedIndex(outgoing, ackOf));
}

export function voteResult(voters: readonly StoreId[], voteOf: VoteOf): VoteResult {
  if (voters.length === 0) return "won";
  let yes = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = voteOf(id);
    if (vote === undefined) missing++;
    else if (vote) yes++;
  }
  const needed = majorityOf(voters.length);
  if (yes >= needed) return "won";
  return yes + missing >= needed ? "pending" : "lost";
}

/** Both halves must win; one lost half loses. */
export function jointVoteResult(
  voters: readonly StoreId[],
  outgoing: readonly StoreId[],
  voteOf: VoteOf,
): VoteResult {
  const incomingResult = voteResult(voters, voteOf);
  const outgoingResult = voteResult(outgoing, voteOf);
  if (incomingResult === outgoingResult) return incomingResult;
  if (incomingResult === "lost" || outgoingResult === "lost") return "lost";
  return "pending";
}
