/**
 * A worker's stream: Readys in, tasks out; settles and heartbeats in, acks out.
 *
 * A Ready is a claim that waits for ever. While too much waits to be written its claim is not made,
 * and claims that wait are taken back when far too much does; both are made again when there is
 * room, so that every Ready is answered once.
 */

import type { WorkerClientEvent, WorkerHello } from "../../api/proto-events.ts";
import { parseTaskIdAscii } from "../../api/proto-task-id.ts";
import type { Ready } from "../../api/ready-coder.ts";
import type { SettleFrame } from "../../api/settle-coder.ts";
import { encodeTask, encodeTaskBatch } from "../../api/task-coder.ts";
import type { Identity } from "../../auth/authenticator.ts";
import { errorCodes, QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { parseTaskId } from "../../base/task-id.ts";
import type {
  CancelNotice,
  ClaimHandle,
  ClaimOutcome,
  ClaimRequest,
  Grant,
  SettleResults,
} from "../../router/router.ts";
import { brokenProtocol, statusOf, statusOfReady } from "./error-mapper.ts";
import { clamp, isQueueName, isWorkerId } from "./fields.ts";
import { HeldLeases } from "./held-leases.ts";
import { ReadyNames } from "./ready-names.ts";
import { SettleQueue } from "./settle-queue.ts";
import { type StreamContext, StreamCore, type StreamDeps } from "./stream-core.ts";

/** A Ready that is not answered yet. */
interface Slot {
  readonly request: ClaimRequest;
  /** null while its claim is not made. */
  handle: ClaimHandle | null;
}

export class WorkerStream {
  readonly core: StreamCore<WorkerClientEvent>;
  /** "" before the Hello. */
  tenant = "";
  workerId = "";
  private readonly deps: StreamDeps;
  private readonly onOpen: (stream: WorkerStream) => void;
  private readonly held = new HeldLeases();
  private readonly slots = new Set<Slot>();
  private readonly names: ReadyNames;
  /** Slots without a claim, in order. Invariant: empty unless the stream is crowded. */
  private deferred: Slot[] = [];
  private settles: SettleQueue | null = null;
  private releasesOnClose = false;
  /**
   * The client was told that this node leads nothing: when it goes to the leader it goes on with
   * the tasks that it works on. Over as soon as this stream is given tasks again.
   */
  private leavesWithLeases = false;
  private isDraining = false;
  private readonly scratch = new Uint8Array(16);

  /** @param onOpen - told when tenant and workerId are known */
  constructor(
    deps: StreamDeps,
    context: StreamContext<WorkerClientEvent>,
    onOpen: (stream: WorkerStream) => void,
  ) {
    this.deps = deps;
    this.onOpen = onOpen;
    this.names = new ReadyNames(context.gate.flow);
    this.core = new StreamCore("worker", deps, context);
    this.core.start((event) => this.greet(event as WorkerHello), {
      handle: (event) => this.handle(event),
      flowChanged: () => this.flowChanged(),
      over: () => this.over(),
    });
  }

  /**
   * The node stops: waiting Readys are void. Ends as soon as the worker holds no lease; where the
   * node leads nothing, one that follows leaders goes at once and takes its leases along to them.
   * May be called again when that has changed.
   */
  drain(leadsAny: boolean): void {
    this.isDraining = true;
    if (!leadsAny && this.core.followsLeader) this.leavesWithLeases = true;
    this.cancelClaims();
    this.slots.clear();
    this.deferred = [];
    this.endIfDrained();
  }

  /** A task of this tenant and worker was canceled. */
  tellCancel(notice: CancelNotice): void {
    if (!parseTaskId(notice.taskId, this.scratch)) return;
    if (this.held.token(this.scratch, 0) !== notice.leaseToken) return;
    this.held.delete(this.scratch, 0);
    if (this.core.isOpen && this.core.followsLeader) {
      this.core.write(this.deps.wire.encodeCancel(notice.taskId, notice.leaseToken));
    }
    this.endIfDrained();
  }

  private greet(hello: WorkerHello): void {
    const { wire, node, router } = this.deps;
    const identity = this.core.authenticate(hello.token);
    this.tenant = identity.tenant;
    this.workerId = hello.workerId === "" ? identity.subject : hello.workerId;
    if (!isWorkerId(this.workerId)) {
      const text = `worker_id: 1..${limits.workerIdChars} characters, no control characters`;
      throw new QueueError("invalid_argument", text, { field: "worker_id" });
    }
    this.releasesOnClose = hello.releaseOnClose;
    this.settles = this.settleQueue(identity);
    this.core.becomeOpen(identity, hello.followLeader);
    this.core.write(
      wire.encodeWorkerHelloAck({
        tenant: this.tenant,
        workerId: this.workerId,
        nodeId: node.nodeId,
        shards: router.shardCount,
        nodes: node.nodes(),
      }),
    );
    this.onOpen(this);
  }

  private settleQueue(identity: Identity): SettleQueue {
    const { core } = this;
    return new SettleQueue({
      timers: this.deps.timers,
      identity,
      newBatch: () => this.deps.router.settleBatch(this.tenant, this.workerId),
      took: (bytes) => core.took(bytes),
      settled: (frame, results, at, ack) => {
        this.forget(frame, results, at);
        core.write(ack);
      },
      nowMs: () => core.nowMs(),
      answered: (frames, bytes, sinceMs) => {
        core.answered(frames, bytes, sinceMs);
        this.endIfDrained();
      },
    });
  }

  private handle(event: WorkerClientEvent): void {
    switch (event.kind) {
      case "hello":
        this.core.refuseHello();
        return;
      case "ready":
        this.takeReady(event);
        return;
      case "unset":
        this.core.end(brokenProtocol("INVALID_ARGUMENT", "the message has no event"));
        return;
      case "malformed":
        this.core.fail(event.error);
        return;
      default: {
        const ack = this.settles?.take(event);
        if (ack) this.core.write(ack);
      }
    }
  }

  private takeReady(ready: Ready): void {
    // The end of the stream, soon, is the answer.
    if (this.isDraining) return;
    const refused = this.refusalOf(ready);
    if (refused !== null) {
      this.refuseReady(refused);
      return;
    }
    const request = this.requestOf(ready);
    const queues = request.queues && this.names.take(request.queues);
    if (request.queues !== null && queues === null) {
      const text = "waiting Readys name too many different queues on this connection";
      this.refuseReady(new QueueError("rate_limited", text));
      return;
    }
    const slot: Slot = { request: { ...request, queues }, handle: null };
    this.slots.add(slot);
    if (this.core.isCrowded) this.deferred.push(slot);
    else this.claim(slot);
  }

  private refuseReady(error: QueueError): void {
    this.core.sendError(error);
    this.core.end(statusOf(error));
  }

  private refusalOf(ready: Ready): QueueError | null {
    const { identity } = this.core;
    if (identity === null || !identity.can("codeq:claim")) {
      return new QueueError("permission_denied", "the token has no scope codeq:claim");
    }
    for (const queue of ready.queues) {
      if (!isQueueName(queue)) {
        const text = "commands: names of 1..128 of A-Za-z0-9._:-";
        return new QueueError("invalid_argument", text, { field: "commands" });
      }
      if (!identity.mayClaim(queue)) {
        return new QueueError("permission_denied", `the token may not claim from ${queue}`);
      }
    }
    if (this.slots.size < limits.grpcReadys) return null;
    return new QueueError("rate_limited", `over ${limits.grpcReadys} Readys wait on this stream`);
  }

  private requestOf(ready: Ready): ClaimRequest {
    const allowed = this.core.identity?.queues ?? null;
    const seconds = clamp(ready.leaseSeconds, limits.leaseSecondsMin, limits.leaseSecondsMax);
    return {
      tenant: this.tenant,
      queues: ready.queues.length > 0 ? ready.queues : allowed === null ? null : [...allowed],
      count: clamp(ready.count, 1, limits.claimTasks),
      bytesMax: limits.claimGrpcBytes,
      leaseMs: ready.leaseSeconds <= 0 ? this.deps.rules.leaseMs : seconds * 1000,
      workerId: this.workerId,
      waitMs: Number.POSITIVE_INFINITY,
    };
  }

  private claim(slot: Slot): void {
    slot.handle = this.deps.router.claim(slot.request, (outcome) => this.claimed(slot, outcome));
  }

  private claimed(slot: Slot, outcome: ClaimOutcome): void {
    slot.handle = null;
    switch (outcome.kind) {
      case "granted":
        this.leave(slot);
        this.give(slot.request.count, outcome.grants);
        return;
      case "empty":
        // A claim without an end found its end: it is made again.
        this.deferred.push(slot);
        this.flowChanged();
        return;
      case "failed":
        this.leave(slot);
        this.failReady(outcome.error);
    }
  }

  private leave(slot: Slot): void {
    this.slots.delete(slot);
    if (slot.request.queues !== null) this.names.release(slot.request.queues);
  }

  private give(count: number, grants: readonly Grant[]): void {
    if (!this.core.isOpen || this.isDraining) {
      this.handBack(grants);
      return;
    }
    this.leavesWithLeases = false;
    const nowMs = this.deps.clock.wallMs();
    for (const grant of grants) {
      const lease = { token: grant.leaseToken, untilMs: grant.leaseUntilMs, nowMs };
      for (let i = 0; i < grant.count; i++) this.held.set(grant.ids, i * 16, lease);
    }
    const [first] = grants;
    const isLone = count === 1 && first !== undefined;
    this.core.write(isLone ? encodeTask(first) : encodeTaskBatch(grants), grants);
    if (this.core.outbound.bytes > limits.grpcOutboundBytesMax) this.takeClaimsBack();
  }

  /** Whoever follows the leader keeps the stream; the failed Ready is void in any case. */
  private failReady(error: QueueError): void {
    if (!this.core.isOpen) return;
    this.core.sendError(error);
    const isHere = !isAbroad(errorCodes[error.code].number);
    if (isHere || !this.core.followsLeader) this.core.end(statusOfReady(error));
    else this.leavesWithLeases = true;
  }

  /** So much waits to be written that not even what is granted meanwhile should come. */
  private takeClaimsBack(): void {
    const waiting = new Set(this.deferred);
    for (const slot of this.slots) if (!waiting.has(slot)) this.deferred.push(slot);
    this.cancelClaims();
  }

  private cancelClaims(): void {
    for (const slot of this.slots) {
      slot.handle?.cancel();
      slot.handle = null;
    }
  }

  private flowChanged(): void {
    if (!this.core.isOpen) {
      this.cancelClaims();
      return;
    }
    if (this.core.isCrowded || this.deferred.length === 0) return;
    const slots = this.deferred;
    this.deferred = [];
    for (const slot of slots) this.claim(slot);
  }

  /** Leases that ended by what the frame said, or that were over before, are no longer held. */
  private forget(frame: SettleFrame, results: SettleResults, at: number): void {
    for (let i = 0; i < frame.count; i++) {
      const code = results.codes[at + i] as number;
      const isGone = code === errorCodes.lease_lost.number || code === errorCodes.not_found.number;
      if (isAbroad(code)) this.leavesWithLeases = true;
      if (code !== 0 && !isGone) continue;
      const from = frame.idFrom[i] as number;
      if (!parseTaskIdAscii(frame.buffer, from, frame.idTo[i] as number, this.scratch)) continue;
      if (code === 0 && frame.kind === "heartbeat") {
        this.held.extend(this.scratch, 0, results.times[at + i] as number);
      } else this.held.delete(this.scratch, 0);
    }
  }

  private endIfDrained(): void {
    if (!this.isDraining || (this.held.size > 0 && !this.leavesWithLeases)) return;
    const error = new QueueError("draining", "the node is stopping");
    if (this.core.isOpen) this.core.sendError(error);
    this.core.end(statusOf(error));
  }

  /** The stream is gone: so are its claims, the tasks it was not told of, and maybe all leases. */
  private over(): void {
    this.cancelClaims();
    this.slots.clear();
    this.deferred = [];
    for (const grants of this.core.outbound.unsent()) this.handBack(grants);
    if (this.releasesOnClose && !this.leavesWithLeases) this.release();
  }

  private handBack(grants: readonly Grant[]): void {
    const batch = this.deps.router.settleBatch(this.tenant, this.workerId);
    for (const grant of grants) {
      for (let i = 0; i < grant.count; i++) {
        batch.release(grant.ids, i * 16, grant.leaseToken);
        this.held.delete(grant.ids, i * 16);
      }
    }
    batch.send(ignoreResults);
  }

  private release(): void {
    let batch = this.deps.router.settleBatch(this.tenant, this.workerId);
    this.held.forEach((ids, at, token) => {
      batch.release(ids, at, token);
      if (batch.count < limits.stepTasks) return;
      batch.send(ignoreResults);
      batch = this.deps.router.settleBatch(this.tenant, this.workerId);
    });
    if (batch.count > 0) batch.send(ignoreResults);
  }
}

/** Nobody is left to be told; a lease that is over already needs no handing back. */
function ignoreResults(): void {
  return;
}

/** Codes for a shard that is led elsewhere, or by nobody that this node knows. */
function isAbroad(code: number): boolean {
  return code === errorCodes.not_leader.number || code === errorCodes.no_leader.number;
}
