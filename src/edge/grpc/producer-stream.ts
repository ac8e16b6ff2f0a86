/**
 * A producer's stream: creates in, acks out.
 *
 * Lone creates that arrive in one turn of the event loop go to the router together; each still gets
 * its own ack, and a batch its own ack batch.
 */

import { encodeCreateAcks } from "../../api/ack-coder.ts";
import type { CreateFrame } from "../../api/create-coder.ts";
import type { ProducerClientEvent, ProducerHello } from "../../api/proto-events.ts";
import { errorCodes, QueueError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { CreateBatch, CreateResults } from "../../router/router.ts";
import { brokenProtocol, statusOf } from "./error-mapper.ts";
import { createDraft, fillDraft } from "./fields.ts";
import { type StreamContext, StreamCore, type StreamDeps } from "./stream-core.ts";

/** Lone creates that are sent off together, at the most. */
const mergedCreates = 256;
const runIdBytes = 16;
/** The answers to an empty batch. */
const noResults = {
  codes: new Uint8Array(0),
  ids: Buffer.alloc(0),
  duplicates: new Uint8Array(0),
  error: () => undefined,
};

export class ProducerStream {
  readonly core: StreamCore<ProducerClientEvent>;
  private readonly deps: StreamDeps;
  private readonly draft = createDraft();
  private tenant = "";
  /** Lone creates of this turn, and the batch they are added to. */
  private lone: CreateFrame[] = [];
  private loneBatch: CreateBatch | null = null;

  constructor(deps: StreamDeps, context: StreamContext<ProducerClientEvent>) {
    this.deps = deps;
    this.core = new StreamCore("producer", deps, context);
    this.core.start((event) => this.greet(event as ProducerHello), {
      handle: (event) => this.handle(event),
      flowChanged: () => undefined,
      over: () => undefined,
    });
  }

  /** Answers what is outstanding, then ends: the node stops. */
  drain(): void {
    const error = new QueueError("draining", "the node is stopping");
    if (this.core.isOpen) this.core.sendError(error);
    this.core.end(statusOf(error));
  }

  private greet(hello: ProducerHello): void {
    const { wire, node, router } = this.deps;
    const identity = this.core.authenticate(hello.token);
    this.tenant = identity.tenant;
    this.core.becomeOpen(identity, hello.followLeader);
    this.core.write(
      wire.encodeProducerHelloAck({
        tenant: identity.tenant,
        subject: identity.subject,
        nodeId: node.nodeId,
        shards: router.shardCount,
        nodes: node.nodes(),
      }),
    );
  }

  private handle(event: ProducerClientEvent): void {
    switch (event.kind) {
      case "hello":
        this.core.refuseHello();
        return;
      case "create":
        this.takeLone(event);
        return;
      case "create_batch":
        this.sendLone();
        this.takeBatch(event);
        return;
      case "unset":
        this.core.end(brokenProtocol("INVALID_ARGUMENT", "the message has no event"));
        return;
      case "malformed":
        this.core.fail(event.error);
        return;
    }
  }

  private takeLone(frame: CreateFrame): void {
    frame.next();
    if (frame.runId !== null) {
      // The run's id is the batch's: it cannot share one.
      this.sendLone();
      this.sendFrame(frame, this.batchOf(frame));
      return;
    }
    this.loneBatch ??= this.deps.router.createBatch(this.tenant);
    this.addTask(this.loneBatch, frame, this.deps.clock.wallMs());
    this.lone.push(frame);
    this.core.took(frame.buffer.length);
    if (this.lone.length === 1) this.deps.timers.soon(() => this.sendLone());
    if (this.lone.length === mergedCreates) this.sendLone();
  }

  private sendLone(): void {
    const batch = this.loneBatch;
    if (batch === null) return;
    const frames = this.lone;
    this.lone = [];
    this.loneBatch = null;
    const sinceMs = this.core.nowMs();
    batch.send(null, (results) => {
      let bytes = 0;
      for (const [i, frame] of frames.entries()) {
        bytes += frame.buffer.length;
        this.core.write(encodeCreateAcks(frame, results, i));
      }
      this.lookForLeader(results);
      this.core.answered(frames.length, bytes, sinceMs);
    });
  }

  private takeBatch(frame: CreateFrame): void {
    if (frame.count === 0) {
      this.core.write(encodeCreateAcks(frame, noResults));
      return;
    }
    if (frame.count > limits.grpcBatchTasks) {
      const text = `a batch has at most ${limits.grpcBatchTasks} tasks`;
      this.core.end(brokenProtocol("RESOURCE_EXHAUSTED", text));
      return;
    }
    const batch = this.deps.router.createBatch(this.tenant);
    const nowMs = this.deps.clock.wallMs();
    while (frame.next()) this.addTask(batch, frame, nowMs);
    this.sendFrame(frame, batch);
  }

  /** A batch of the lone task under the frame's cursor. */
  private batchOf(frame: CreateFrame): CreateBatch {
    const batch = this.deps.router.createBatch(this.tenant);
    this.addTask(batch, frame, this.deps.clock.wallMs());
    return batch;
  }

  private addTask(batch: CreateBatch, frame: CreateFrame, nowMs: number): void {
    const error = fillDraft(this.draft, frame, this.deps.rules, nowMs);
    if (error === null) batch.add(this.draft, frame.buffer, frame.payloadFrom, frame.payloadTo);
    else batch.addRefused(error);
  }

  private sendFrame(frame: CreateFrame, batch: CreateBatch): void {
    const bytes = frame.buffer.length;
    const sinceMs = this.core.nowMs();
    this.core.took(bytes);
    const isBroken = frame.runId !== null && frame.runId.length !== runIdBytes;
    const checked = isBroken ? this.refusedBatch(frame) : batch;
    checked.send(isBroken ? null : frame.runId, (results) => {
      this.core.write(encodeCreateAcks(frame, results));
      this.lookForLeader(results);
      this.core.answered(1, bytes, sinceMs);
    });
  }

  private refusedBatch(frame: CreateFrame): CreateBatch {
    const batch = this.deps.router.createBatch(this.tenant);
    const text = `run_id: ${runIdBytes} bytes`;
    const error = new QueueError("invalid_argument", text, { field: "run_id" });
    for (let i = 0; i < frame.count; i++) batch.addRefused(error);
    return batch;
  }

  /**
   * A node that leads no shard sends its clients away: they would only collect refusals. While a
   * leader moves, a node that leads others keeps its streams.
   */
  private lookForLeader(results: CreateResults): void {
    const at = results.codes.indexOf(errorCodes.not_leader.number);
    const error = at < 0 ? undefined : results.error(at);
    if (error === undefined || !this.core.isOpen || this.deps.router.health().isLeader) return;
    this.core.sendError(error);
    if (!this.core.followsLeader) this.core.end(statusOf(error));
  }
}
