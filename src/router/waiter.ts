/** One waiting claim (waiters.ts). */
import type { TimerHandle } from "../base/effects.ts";
import type { QueueError } from "../base/errors.ts";
import type { CommandResult } from "../queue/command.ts";
import type { CommandSink } from "../shard/proposer.ts";
import type { ClaimHandle, ClaimOutcome, ClaimRequest } from "./router.ts";
import type { WaitList } from "./wait-list.ts";
import type { WorkQueue, WorkSource } from "./work-source.ts";

/** What a claim tells those who keep it. */
export interface WaiterOwner {
  cancel(waiter: Waiter): void;
  claimed(waiter: Waiter, result: CommandResult): void;
  claimFailed(waiter: Waiter, error: QueueError): void;
}

export class Waiter implements ClaimHandle {
  readonly owner: WaiterOwner;
  readonly request: ClaimRequest;
  readonly done: (outcome: ClaimOutcome) => void;
  state: "waiting" | "claiming" | "over" = "over";
  lists: WaitList<Waiter>[] = [];
  timer: TimerHandle | null = null;
  /** Its time is up or it must not wait: if the command on its way finds nothing, that is the answer. */
  lastTry = false;
  canceled = false;
  source: WorkSource | null = null;
  queue: WorkQueue | null = null;
  order = 0;
  /** When it was asked for. */
  sinceMs = 0;
  /** When its claim command was sent. */
  sentMs = 0;

  constructor(owner: WaiterOwner, request: ClaimRequest, done: (outcome: ClaimOutcome) => void) {
    this.owner = owner;
    this.request = request;
    this.done = done;
  }

  cancel(): void {
    this.owner.cancel(this);
  }

  // The sink of its claim command; `done` of a sink would be taken for the caller's.
  readonly sink: CommandSink = {
    done: (result: CommandResult) => this.owner.claimed(this, result),
    failed: (error: QueueError) => this.owner.claimFailed(this, error),
  };
}
