/**
 * Collects what happens while entries are applied, and tells it when the turn is over: calls never
 * come from inside the state machine, and each queue or run is named once per turn.
 */
import type { Run } from "../queue/run.ts";
import type { ApplyEvents, Queue } from "../queue/state.ts";
import type { Shard } from "./shard.ts";
import type { ShardListener } from "./shard-port.ts";

export class Notices implements ApplyEvents {
  private readonly shard: Shard;
  private readonly readyQueues = new Set<Queue>();
  private readonly endedRuns = new Set<string>();
  private readonly canceled: (() => void)[] = [];
  private listener: ShardListener | null = null;

  constructor(shard: Shard) {
    this.shard = shard;
  }

  readyAdded(queue: Queue): void {
    this.readyQueues.add(queue);
  }

  ended(run: Run): void {
    this.endedRuns.add(run.key);
  }

  leaseCanceled(run: Run, place: number, token: number, workerId: string): void {
    const { shard } = this;
    this.canceled.push(() => {
      this.listener?.leaseCanceled(shard, run.key, place, run.queue, token, workerId);
    });
  }

  /** The turn is over. */
  tell(listener: ShardListener | null): void {
    this.listener = listener;
    for (const cancel of this.canceled.splice(0)) cancel();
    if (this.readyQueues.size > 0) {
      const queues = [...this.readyQueues];
      this.readyQueues.clear();
      listener?.ready(this.shard, queues);
    }
    if (this.endedRuns.size === 0) return;
    listener?.ended(this.endedRuns);
    this.endedRuns.clear();
  }
}
