/** All streams of a server: what concerns every one of them, and one timer for all. */
import { status } from "@grpc/grpc-js";
import type { WireNode } from "../../api/proto-events.ts";
import type { Clock, TimerHandle, Timers } from "../../base/effects.ts";
import { limits } from "../../base/limits.ts";
import type { CancelNotice, Router } from "../../router/router.ts";
import { brokenProtocol, type EndStatus } from "./error-mapper.ts";
import type { ProducerStream } from "./producer-stream.ts";
import { WorkerStream } from "./worker-stream.ts";

export type AnyStream = ProducerStream | WorkerStream;

const stopping: EndStatus = { code: status.UNAVAILABLE, details: "the node is stopping" };

interface StreamSetDeps {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly router: Pick<Router, "health">;
}

export class StreamSet {
  private readonly streams = new Set<AnyStream>();
  /** Worker streams by tenant and worker id, for cancels. */
  private readonly workers = new Map<string, Set<WorkerStream>>();
  private readonly clock: Clock;
  private readonly timers: Timers;
  private readonly router: StreamSetDeps["router"];
  private timer: TimerHandle | null = null;
  private isDraining = false;
  private whenEmpty: (() => void)[] = [];

  constructor(deps: StreamSetDeps) {
    this.clock = deps.clock;
    this.timers = deps.timers;
    this.router = deps.router;
  }

  /** Why no further stream is taken, or null. */
  get refusal(): EndStatus | null {
    if (this.isDraining) return stopping;
    if (this.streams.size < limits.grpcStreams) return null;
    return brokenProtocol("RESOURCE_EXHAUSTED", `over ${limits.grpcStreams} streams`);
  }

  /** Open streams of each service. */
  get counts(): { readonly producer: number; readonly worker: number } {
    let worker = 0;
    for (const stream of this.streams) if (stream instanceof WorkerStream) worker++;
    return { producer: this.streams.size - worker, worker };
  }

  add(stream: AnyStream): void {
    this.streams.add(stream);
  }

  delete(stream: AnyStream): void {
    this.streams.delete(stream);
    if (stream instanceof WorkerStream) this.unname(stream);
    if (this.streams.size > 0) return;
    for (const resolve of this.whenEmpty) resolve();
    this.whenEmpty = [];
  }

  /** The stream's tenant and worker id are known now. */
  nameWorker(stream: WorkerStream): void {
    const key = workerKey(stream);
    const set = this.workers.get(key) ?? new Set();
    set.add(stream);
    this.workers.set(key, set);
  }

  tellCancel(notice: CancelNotice): void {
    for (const stream of this.workers.get(workerKey(notice)) ?? []) stream.tellCancel(notice);
  }

  tellCluster(nodes: readonly WireNode[]): void {
    for (const stream of this.streams) stream.core.tellCluster(nodes);
  }

  /** Looks at every stream now and then, until `close`. @param also - called each time */
  watch(also: () => void): void {
    this.timer = this.timers.after(limits.grpcSweepMs, () => {
      const nowMs = this.clock.monotonicMs();
      for (const stream of this.streams) stream.core.check(nowMs);
      if (this.isDraining) this.tellDrain();
      also();
      this.watch(also);
    });
  }

  /** Resolves when the last stream has ended. */
  drain(): Promise<void> {
    this.isDraining = true;
    this.tellDrain();
    if (this.streams.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.whenEmpty.push(resolve));
  }

  /** Again and again: shards that could not be handed over at first may be led elsewhere by now. */
  private tellDrain(): void {
    const { isLeader } = this.router.health();
    for (const stream of this.streams) stream.drain(isLeader);
  }

  close(): void {
    this.isDraining = true;
    this.timer?.cancel();
    this.timer = null;
    for (const stream of this.streams) stream.core.end(stopping);
  }

  private unname(stream: WorkerStream): void {
    const key = workerKey(stream);
    const set = this.workers.get(key);
    set?.delete(stream);
    if (set?.size === 0) this.workers.delete(key);
  }
}

function workerKey(of: { readonly tenant: string; readonly workerId: string }): string {
  return `${of.tenant} ${of.workerId}`;
}
