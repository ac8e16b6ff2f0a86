/**
 * Acks as a server writes them: from the frame that is answered and the columns of its results,
 * straight into one buffer. Seqs and ids are echoed as the bytes they came in.
 */
import type { ByteWriter } from "../base/bytes.ts";
import type { LeaderHint, QueueError } from "../base/errors.ts";
import type { CreateFrame } from "./create-coder.ts";
import { writeTaskIdAscii } from "./proto-task-id.ts";
import {
  closeItem,
  finishFrame,
  frameWriter,
  openItem,
  putNumberField,
  putTextField,
} from "./proto-wire.ts";
import type { SettleFrame } from "./settle-coder.ts";
import { grpcErrorText } from "./wire-errors.ts";

/** Answers to creates, a column each (router/router.ts has the same shape). */
export interface CreateColumns {
  /** Per task 0 (ok) or the number of its error code. */
  readonly codes: Uint8Array;
  /** 16 bytes per task. */
  readonly ids: Buffer;
  readonly duplicates: Uint8Array;
  error(i: number): QueueError | undefined;
}

/** Answers to settles and heartbeats. */
export interface SettleColumns {
  readonly codes: Uint8Array;
  /** nack: ms until ready; heartbeat: new end of the lease. */
  readonly times: Float64Array;
  /** nack: 1 if it went to the dead letter queue. */
  readonly dead: Uint8Array;
  error(i: number): QueueError | undefined;
}

/** Numbers of the arms of ProducerServerEvent and WorkerServerEvent that are acks. */
export const ackArms = {
  create: 2,
  createBatch: 4,
  result: 3,
  heartbeat: 4,
  nack: 5,
  abandon: 6,
  resultBatch: 9,
} as const;

/** An ok create ack at its largest: seq 1 + 10 bytes, ok 2, task_id 38, duplicate 3. */
const createAckBytes = 54;
/** An ok ack of a result: task_id 38, ok 2. */
const settleAckBytes = 40;
/** Longest task_id that is echoed when it is not the text of an id. */
const echoBytesMax = 256;

/**
 * The answer to a create frame: `create_ack` or `create_ack_batch`.
 * @param at - place of the frame's first task in the columns
 */
export function encodeCreateAcks(frame: CreateFrame, columns: CreateColumns, at = 0): Buffer {
  const writer = frameWriter(frame.count * (createAckBytes + 2));
  if (frame.kind === "create") {
    putCreateAck(writer, frame, 0, columns, at);
    return finishFrame(writer, ackArms.create);
  }
  for (let i = 0; i < frame.count; i++) {
    const room = columns.codes[at + i] === 0 ? 1 : 2;
    const from = openItem(writer, room);
    putCreateAck(writer, frame, i, columns, at + i);
    closeItem(writer, from, room);
  }
  return finishFrame(writer, ackArms.createBatch);
}

function putCreateAck(
  writer: ByteWriter,
  frame: CreateFrame,
  item: number,
  columns: CreateColumns,
  at: number,
): void {
  writer.reserve(createAckBytes);
  putSeq(writer, frame.buffer, frame.seqAt[item] as number);
  if (columns.codes[at] !== 0) {
    putFailure(writer, columns.error(at), 4);
    return;
  }
  const out = writer.buffer;
  let to = writer.length;
  out[to++] = 16;
  out[to++] = 1;
  out[to++] = 26;
  out[to++] = 36;
  writeTaskIdAscii(columns.ids, at * 16, out, to);
  writer.length = to + 36;
  if (columns.duplicates[at] === 1) putNumberField(writer, 22, 1);
}

/** Copies the raw varint; a seq that was not sent is 0, which need not be sent back. */
function putSeq(writer: ByteWriter, frame: Buffer, seqAt: number): void {
  if (seqAt === 0) return;
  const out = writer.buffer;
  let to = writer.length;
  let from = seqAt;
  out[to++] = 8;
  while ((frame[from] as number) > 127) out[to++] = frame[from++] as number;
  out[to++] = frame[from] as number;
  writer.length = to;
}

/**
 * The answer to a settle frame: `result_ack`, `nack_ack`, `heartbeat_ack`, `abandon_ack` or
 * `result_ack_batch`.
 * @param at - place of the frame's first item in the columns
 */
export function encodeSettleAcks(frame: SettleFrame, columns: SettleColumns, at = 0): Buffer {
  const writer = frameWriter(frame.count * (settleAckBytes + 2) + 32);
  if (frame.kind !== "result_batch") {
    putSettleAck(writer, frame, 0, columns, at);
    return finishFrame(writer, ackArms[frame.kind]);
  }
  for (let i = 0; i < frame.count; i++) {
    const room = columns.codes[at + i] === 0 ? 1 : 2;
    const from = openItem(writer, room);
    putSettleAck(writer, frame, i, columns, at + i);
    closeItem(writer, from, room);
  }
  return finishFrame(writer, ackArms.resultBatch);
}

function putSettleAck(
  writer: ByteWriter,
  frame: SettleFrame,
  item: number,
  columns: SettleColumns,
  at: number,
): void {
  putTaskIdEcho(writer, frame, item);
  if (columns.codes[at] !== 0) {
    putFailure(writer, columns.error(at), 3);
    return;
  }
  writer.u8(16);
  writer.u8(1);
  const time = columns.times[at] as number;
  if (frame.kind === "heartbeat") putNumberField(writer, 22, time);
  if (frame.kind !== "nack") return;
  putNumberField(writer, 4, Math.ceil(time / 1000));
  putNumberField(writer, 5, columns.dead[at] as number);
  putNumberField(writer, 22, time);
}

function putTaskIdEcho(writer: ByteWriter, frame: SettleFrame, item: number): void {
  const from = frame.idFrom[item] as number;
  const size = (frame.idTo[item] as number) - from;
  if (size === 0 || size > echoBytesMax) return;
  writer.reserve(size + 3);
  writer.u8(10);
  writer.varint(size);
  const out = writer.buffer;
  const to = writer.length;
  for (let i = 0; i < size; i++) out[to + i] = frame.buffer[from + i] as number;
  writer.length = to + size;
}

/** ok is absent, that is false. The numbers of code and not_leader are the same in all acks. */
function putFailure(writer: ByteWriter, error: QueueError | undefined, textField: number): void {
  putTextField(writer, textField, error === undefined ? "internal error" : grpcErrorText(error));
  putTextField(writer, 20, error?.code ?? "internal");
  if (error?.leader !== undefined) putNotLeader(writer, 21, error.leader);
}

function putNotLeader(writer: ByteWriter, field: number, leader: LeaderHint): void {
  const { shard, leaderId, leaderGrpc, leaderHttp, term } = leader;
  const inner = frameWriter(128);
  putNumberField(inner, 1, shard);
  putTextField(inner, 2, leaderId);
  putTextField(inner, 3, leaderGrpc);
  putTextField(inner, 4, leaderHttp);
  putNumberField(inner, 5, term);
  // finishFrame gives tag, length and body: a sized field is written as an arm is.
  writer.bytes(finishFrame(inner, field));
}
