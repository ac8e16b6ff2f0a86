/**
 * Waiting claims over shards whose answers come when the test says so: the queue's state is real,
 * the log is the test's hand.
 */
import assert from "node:assert/strict";
import { toLogIndex, toShardId } from "../../../src/base/brand.ts";
import { ByteWriter } from "../../../src/base/bytes.ts";
import type { QueueError } from "../../../src/base/errors.ts";
import { createRunKeySource, runKeyBytes } from "../../../src/base/task-id.ts";
import { Applier } from "../../../src/queue/apply.ts";
import type { Command } from "../../../src/queue/command.ts";
import { prefixes } from "../../../src/queue/keys.ts";
import type { Run } from "../../../src/queue/run.ts";
import { type Queue, State } from "../../../src/queue/state.ts";
import { encodeTaskRecord } from "../../../src/queue/task-record.ts";
import type { RemoteShard } from "../../../src/router/remote-shard.ts";
import type { ClaimHandle, ClaimOutcome, ClaimRequest, Grant } from "../../../src/router/router.ts";
import { Waiters } from "../../../src/router/waiters.ts";
import type { CommandSink } from "../../../src/shard/proposer.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { ManualEffects } from "../client/manual-effects.ts";

interface Submitted {
  readonly command: Command;
  readonly sink: CommandSink;
}

/** As much of a shard as waiting claims see. */
export class HandShard {
  readonly id: number;
  readonly shardCount = 2;
  readonly state = new State(true);
  readonly records = {
    inMemory: (run: Run) =>
      run.inlineRecords ?? this.state.overlay.get(prefixes.payload + run.key) ?? undefined,
  };
  leads = true;
  /** Commands on their way, oldest first. */
  readonly onTheWay: Submitted[] = [];
  /** Claims that were passed on to the node that leads it. */
  passedOn = 0;
  private readonly applier = new Applier(this.state);
  private readonly keys = createRunKeySource(Buffer.from([1, 2, 3, 4, 5, 6]));
  private index = 0;

  constructor(id: number) {
    this.id = toShardId(id);
  }

  submit(command: Command, _bulkBytes: number, sink: CommandSink): void {
    this.onTheWay.push({ command, sink });
  }

  apply(command: Command) {
    for (let needs = this.applier.needs(command); needs; needs = this.applier.needs(command)) {
      // There is no store: what is not in memory does not exist.
      for (const need of needs) if (need.kind === "run") this.state.provideRun(need.key, undefined);
    }
    return this.applier.apply(command, toLogIndex(++this.index), 0);
  }

  /** Makes ready tasks. @returns their queue */
  create(name: string, count: number, priority = 0): Queue {
    const key = Buffer.alloc(runKeyBytes);
    this.keys.next(1000 + this.index, key, 0);
    const out = new ByteWriter(64);
    const task = { maxAttempts: 5, delayMs: 0, runAtMs: 0, extras: null };
    for (let i = 0; i < count; i++) encodeTaskRecord(out, task, Buffer.from("1"), 0, 1);
    const records = out.finish();
    const fixed = { kind: "create", tenant: "t", requestHash: null } as const;
    this.apply({ ...fixed, queue: name, priority, key, count, records });
    return this.state.findQueue("t", name) as Queue;
  }

  /** The oldest command on its way is applied and answered. */
  answer(): void {
    const { command, sink } = this.take();
    sink.done(this.apply(command));
  }

  refuse(error: QueueError): void {
    this.take().sink.failed(error);
  }

  private take(): Submitted {
    const first = this.onTheWay.shift();
    assert.ok(first, "a command is on its way");
    return first;
  }

  /** The one cast of this harness: waiting claims see no more than this of a shard. */
  get asShard(): Shard {
    return this as unknown as Shard;
  }
}

export interface Claim {
  readonly handle: ClaimHandle;
  /** What it was told, once. */
  outcome: ClaimOutcome | null;
}

export class WaitersHarness {
  readonly effects = new ManualEffects();
  readonly shards = [new HandShard(0), new HandShard(1)] as const;
  readonly released: Grant[] = [];
  /** Claims go to the leaders of shards that are not led here, too. */
  passesOn = false;
  readonly waiters = new Waiters({
    timers: this.effects.timers,
    metrics: { tasks: { add: () => undefined }, seconds: { observe: () => undefined } },
    nowMs: () => this.effects.nowMs,
    sources: () =>
      this.shards.filter(({ leads }) => leads || this.passesOn).map(({ asShard }) => asShard),
    remote: (source) => (this.passesOn ? this.remote(source.id) : null),
    release: (grants) => this.released.push(...grants),
  });

  /** The way to a leader who never answers. */
  private remote(shard: number): RemoteShard {
    const claim = () => {
      (this.shards[shard] as HandShard).passedOn++;
    };
    return { claim } as unknown as RemoteShard;
  }

  claim(request: Partial<ClaimRequest> = {}): Claim {
    const claim: { handle: ClaimHandle; outcome: ClaimOutcome | null } = {
      handle: { cancel: () => undefined },
      outcome: null,
    };
    let isInside = true;
    const whole = { tenant: "t", queues: ["q"], count: 1, bytesMax: 1e6, leaseMs: 60_000 };
    claim.handle = this.waiters.claim(
      { ...whole, workerId: "w", waitMs: 10_000, ...request },
      (outcome) => {
        assert.ok(!isInside, "never inside of the call");
        assert.equal(claim.outcome, null, "once");
        claim.outcome = outcome;
      },
    );
    isInside = false;
    return claim;
  }

  /** New tasks, as a shard tells of them. */
  add(shard: 0 | 1, name: string, count: number, priority = 0): void {
    const queue = this.shards[shard].create(name, count, priority);
    this.waiters.wake(this.shards[shard].asShard, queue);
  }

  soon(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }
}
