/** Acks as a client reads them: columns per frame, an object only per failure. */
import type { LeaderHint } from "../base/errors.ts";
import { ackArms } from "./ack-coder.ts";
import { type Arm, countItems, sizedTag, WireReader } from "./proto-wire.ts";

/** Why an item was refused. */
export interface AckFailure {
  /** The error table's code; "" from servers that send none. */
  readonly code: string;
  readonly message: string;
  /** Where the leader is, with code not_leader. */
  readonly leader: LeaderHint | undefined;
}

/** A `create_ack` (count 1) or `create_ack_batch`. */
export interface CreateAcks {
  readonly kind: "create_ack" | "create_ack_batch";
  readonly count: number;
  /** Above 2^53 rounded. */
  readonly seqs: Float64Array;
  readonly taskIds: readonly string[];
  /** Per task 1 if it existed already. */
  readonly duplicates: Uint8Array;
  /** undefined where the ack is ok. */
  readonly failures: readonly (AckFailure | undefined)[];
}

/** A `result_ack`, `nack_ack`, `heartbeat_ack`, `abandon_ack` (count 1) or `result_ack_batch`. */
export interface SettleAcks {
  readonly kind: "result_ack" | "result_ack_batch" | "nack_ack" | "heartbeat_ack" | "abandon_ack";
  readonly count: number;
  readonly taskIds: readonly string[];
  readonly failures: readonly (AckFailure | undefined)[];
  /** nack_ack: ms until the task is ready; heartbeat_ack: the lease's new end. Else 0. */
  readonly timeMs: number;
  /** nack_ack: it is a dead letter. */
  readonly isDead: boolean;
}

/** @throws DecodeError when it is malformed */
export function decodeCreateAcks(buffer: Buffer, arm: Arm): CreateAcks {
  const isBatch = arm.field === ackArms.createBatch;
  const count = isBatch ? countItems(buffer, arm.from, arm.to) : 1;
  const seqs = new Float64Array(count);
  const duplicates = new Uint8Array(count);
  const taskIds: string[] = [];
  const failures: (AckFailure | undefined)[] = [];
  forEachItem(buffer, arm, { isBatch, idField: 3 }, (item) => {
    const i = taskIds.length;
    readAck(item, (tag) => {
      if (tag === 8) seqs[i] = item.reader.varint();
      else if (tag === 22 * 8) duplicates[i] = item.reader.bool() ? 1 : 0;
      else item.reader.skip(tag);
    });
    taskIds.push(item.id);
    failures.push(failureOf(item));
  });
  const kind = isBatch ? "create_ack_batch" : "create_ack";
  return { kind, count, seqs, taskIds, duplicates, failures };
}

/** @throws DecodeError when it is malformed */
export function decodeSettleAcks(buffer: Buffer, arm: Arm): SettleAcks {
  const kind = settleKind(arm.field);
  const taskIds: string[] = [];
  const failures: (AckFailure | undefined)[] = [];
  let timeMs = 0;
  let seconds = 0;
  let isDead = false;
  forEachItem(buffer, arm, { isBatch: kind === "result_ack_batch", idField: 1 }, (item) => {
    readAck(item, (tag) => {
      if (kind === "nack_ack" && tag === 32) seconds = item.reader.int32();
      else if (kind === "nack_ack" && tag === 40) isDead = item.reader.bool();
      else if (tag === 22 * 8) timeMs = item.reader.varint();
      else item.reader.skip(tag);
    });
    taskIds.push(item.id);
    failures.push(failureOf(item));
  });
  if (timeMs === 0) timeMs = seconds * 1000;
  return { kind, count: taskIds.length, taskIds, failures, timeMs, isDead };
}

function settleKind(field: number): SettleAcks["kind"] {
  switch (field) {
    case ackArms.result:
      return "result_ack";
    case ackArms.heartbeat:
      return "heartbeat_ack";
    case ackArms.nack:
      return "nack_ack";
    case ackArms.abandon:
      return "abandon_ack";
    default:
      return "result_ack_batch";
  }
}

/** What all acks have; one object serves all items of a frame. */
interface AckItem {
  readonly reader: WireReader;
  readonly idTag: number;
  readonly textTag: number;
  id: string;
  ok: boolean;
  message: string;
  code: string;
  leader: LeaderHint | undefined;
}

function forEachItem(
  buffer: Buffer,
  arm: Arm,
  shape: { readonly isBatch: boolean; readonly idField: number },
  visit: (item: AckItem) => void,
): void {
  const reader = new WireReader(buffer, arm.from, arm.to);
  const item: AckItem = {
    reader,
    idTag: sizedTag(shape.idField),
    textTag: sizedTag(shape.idField === 3 ? 4 : 3),
    id: "",
    ok: false,
    message: "",
    code: "",
    leader: undefined,
  };
  if (!shape.isBatch) {
    visit(item);
    return;
  }
  while (reader.at < arm.to) {
    reader.end = arm.to;
    const tag = reader.varint();
    if (tag !== 10) {
      reader.skip(tag);
      continue;
    }
    reader.end = reader.span();
    visit(item);
  }
}

function readAck(item: AckItem, other: (tag: number) => void): void {
  const { reader } = item;
  item.id = "";
  item.ok = false;
  item.message = "";
  item.code = "";
  item.leader = undefined;
  while (reader.at < reader.end) {
    const tag = reader.varint();
    if (tag === item.idTag) item.id = reader.text();
    else if (tag === 16) item.ok = reader.bool();
    else if (tag === item.textTag) item.message = reader.text();
    else if (tag === sizedTag(20)) item.code = reader.text();
    else if (tag === sizedTag(21)) item.leader = readNotLeader(reader);
    else other(tag);
  }
}

function failureOf(item: AckItem): AckFailure | undefined {
  return item.ok ? undefined : { code: item.code, message: item.message, leader: item.leader };
}

function readNotLeader(outer: WireReader): LeaderHint {
  const to = outer.span();
  const reader = new WireReader(outer.buffer, outer.at, to);
  outer.at = to;
  const leader = { shard: 0, term: 0, leaderId: "", leaderHttp: "", leaderGrpc: "" };
  while (reader.at < to) {
    const tag = reader.varint();
    if (tag === 8) leader.shard = reader.varint();
    else if (tag === 18) leader.leaderId = reader.text();
    else if (tag === 26) leader.leaderGrpc = reader.text();
    else if (tag === 34) leader.leaderHttp = reader.text();
    else if (tag === 40) leader.term = reader.varint();
    else reader.skip(tag);
  }
  return leader;
}
