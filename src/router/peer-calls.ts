/**
 * Questions to other nodes and their answers, over the bulk channel: what this node was asked and
 * another one must do. Each has a deadline; when the connection breaks or the time is up nobody
 * knows whether it happened.
 *
 *   request   u64 call, u16 shard, u8 kind, body
 *   answer    u64 call, u8 0 and the result, or 1 and the error
 */
import type { StoreId } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import type { Random, TimerHandle, Timers } from "../base/effects.ts";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { nodeGroup, type Transport } from "../transport/transport.ts";
import { decodeError, encodeError } from "./remote-codec.ts";

/** Frames of the node, beside those of shard/replica-frames.ts. */
export const callFrames = { request: 16, answer: 17 } as const;

export interface PeerAnswer {
  answered(body: Buffer): void;
  failed(error: QueueError): void;
}

/** @returns the parts of the answer's body, through `reply` or thrown as a QueueError */
export type PeerHandler = (request: PeerRequest) => void;

export interface PeerRequest {
  readonly from: StoreId;
  readonly shard: number;
  readonly kind: number;
  readonly body: Buffer;
  /** @returns false if it is certain that the answer does not arrive */
  reply(parts: readonly Uint8Array[]): boolean;
  refuse(error: QueueError): void;
}

interface Call {
  readonly to: StoreId;
  readonly answer: PeerAnswer;
}

export interface PeerCallsDeps {
  readonly transport: Transport;
  readonly timers: Timers;
  readonly random: Random;
}

const headBytes = 11;
/** Numbers of calls begin anywhere below this, and stay exact as they grow. */
const firstCallMax = 2 ** 52;

export class PeerCalls {
  private readonly deps: PeerCallsDeps;
  private readonly calls = new Map<number, Call>();
  /** Calls by the time they were sent: one timer for all. */
  private young: number[] = [];
  private old: number[] = [];
  private timer: TimerHandle | null = null;
  /**
   * Begins by chance: an answer to this node's earlier process may come to this one, and must not
   * pass for the answer to another question.
   */
  private lastCall: number;
  private handler: PeerHandler = ({ refuse }) => refuse(new QueueError("no_leader", "starting"));

  constructor(deps: PeerCallsDeps) {
    this.deps = deps;
    this.lastCall = Math.floor(deps.random.unit() * firstCallMax);
  }

  handle(handler: PeerHandler): void {
    this.handler = handler;
  }

  get waiting(): number {
    return this.calls.size;
  }

  /** Puts a question. Its answer comes later, never inside this call. */
  call(
    to: StoreId,
    { shard, kind }: { readonly shard: number; readonly kind: number },
    parts: readonly Uint8Array[],
    answer: PeerAnswer,
  ): void {
    if (this.calls.size >= limits.peerCalls) {
      this.fail(answer, new QueueError("overloaded", "too much is passed on to other nodes"));
      return;
    }
    const id = ++this.lastCall;
    const head = new ByteWriter(headBytes);
    head.u64(id);
    head.u16(shard);
    head.u8(kind);
    const all = [head.finish(), ...parts];
    if (!this.deps.transport.send(to, "bulk", nodeGroup, callFrames.request, all)) {
      // Certain: it was not sent.
      const text = "the leader cannot be reached";
      this.fail(answer, new QueueError("no_leader", text, { retryAfterSeconds: 1 }));
      return;
    }
    this.calls.set(id, { to, answer });
    this.young.push(id);
    this.watch();
  }

  private fail(answer: PeerAnswer, error: QueueError): void {
    this.deps.timers.soon(() => answer.failed(error));
  }

  /** A call that is there for two turns of the timer is given up. */
  private watch(): void {
    this.timer ??= this.deps.timers.after(limits.peerCallMs / 2, () => {
      this.timer = null;
      for (const id of this.old) this.giveUp(id, "the leader did not answer in time");
      this.old = this.young;
      this.young = [];
      if (this.calls.size > 0) this.watch();
    });
  }

  private giveUp(id: number, text: string): void {
    const call = this.calls.get(id);
    if (!call) return;
    this.calls.delete(id);
    call.answer.failed(new QueueError("unknown_outcome", text));
  }

  /** A frame of these types arrived. @throws DecodeError */
  frame(from: StoreId, type: number, body: Buffer): void {
    if (type === callFrames.request) this.requested(from, body);
    else if (type === callFrames.answer) this.answered(from, body);
    else throw new DecodeError(`frame of type ${type}`);
  }

  private requested(from: StoreId, bytes: Buffer): void {
    const input = new ByteReader(bytes);
    const [id, shard, kind] = [input.u64(), input.u16(), input.u8()];
    const body = input.bytes(input.left);
    const reply = (status: number, parts: readonly Uint8Array[]) => {
      const head = new ByteWriter(9);
      head.u64(id);
      head.u8(status);
      const all = [head.finish(), ...parts];
      return this.deps.transport.send(from, "bulk", nodeGroup, callFrames.answer, all);
    };
    const refuse = (error: QueueError) => {
      reply(1, [encodeError(error)]);
    };
    try {
      this.handler({ from, shard, kind, body, refuse, reply: (parts) => reply(0, parts) });
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      refuse(error);
    }
  }

  private answered(from: StoreId, bytes: Buffer): void {
    const input = new ByteReader(bytes);
    const [id, status] = [input.u64(), input.u8()];
    const call = this.calls.get(id);
    // Given up meanwhile.
    if (!call || call.to !== from) return;
    this.calls.delete(id);
    const body = input.bytes(input.left);
    if (status === 0) call.answer.answered(body);
    else call.answer.failed(decodeError(body));
  }

  /** What was asked of it is uncertain. */
  peerGone(storeId: StoreId): void {
    for (const [id, { to }] of this.calls) {
      if (to === storeId) this.giveUp(id, "the connection to the leader broke");
    }
  }

  stop(): void {
    this.timer?.cancel();
    for (const id of [...this.calls.keys()]) this.giveUp(id, "the node stops");
  }
}
