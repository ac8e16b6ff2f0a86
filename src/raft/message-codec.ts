/**
 * Messages between replicas as bytes.
 *
 *   u8 version = 1 · u8 kind · varint from, to, term · the kind's fields, varints in order
 *   append entries: varint count, then per entry u8 type · varint term · varint length · data;
 *   their indexes follow from prevIndex
 *
 * Whatever does not have this form, to the last byte, is a DecodeError; so are logs that no
 * replica can have (a term that falls, or lies above the sender's, or an entry without one) and
 * more entries than are ever sent. What only a replica can judge, `step` refuses (raft/step.ts).
 * Frames and checksums are the transport's.
 */
import { unreachable } from "../base/assert.ts";
import {
  type LogIndex,
  type StoreId,
  type Term,
  toLogIndex,
  toStoreId,
  toTerm,
} from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { readMembership, writeMembership } from "./conf-change-codec.ts";
import type { Entry, EntryType, NetworkMessage } from "./types.ts";

const version = 1;

/** The place is the number on the wire: append only. */
const kinds: readonly NetworkMessage["kind"][] = [
  "append",
  "appendResponse",
  "vote",
  "voteResponse",
  "preVote",
  "preVoteResponse",
  "heartbeat",
  "heartbeatResponse",
  "snapshot",
  "timeoutNow",
  "transferLeader",
  "propose",
  "readIndex",
  "readIndexResponse",
];

const entryTypes: readonly EntryType[] = ["normal", "confChange", "confChangeV2"];

/** Smallest encoded entry: a count above what is left divided by this is a lie. */
const entryBytesMin = 3;
const proposalBytesMin = 2;

/** Bytes of a message without its entries, at the most for groups of usual size. */
const headBytes = 64;

export function encodeMessage(message: NetworkMessage): Buffer {
  const writer = new ByteWriter(headBytes + payloadBytes(message));
  writer.u8(version);
  writer.u8(kinds.indexOf(message.kind));
  writer.varint(message.from);
  writer.varint(message.to);
  writer.varint(message.term);
  writeBody(writer, message);
  return writer.finish();
}

function payloadBytes(message: NetworkMessage): number {
  if (message.kind !== "append" && message.kind !== "propose") return 0;
  let bytes = 0;
  for (const entry of message.entries) bytes += entry.data.length + 16;
  return bytes;
}

function writeBody(writer: ByteWriter, message: NetworkMessage): void {
  switch (message.kind) {
    case "append":
      writeAll(writer, message.prevIndex, message.prevTerm, message.commit);
      writer.varint(message.entries.length);
      for (const { type, term, data } of message.entries) {
        writer.u8(entryTypes.indexOf(type));
        writer.varint(term);
        writer.sized(data);
      }
      return;
    case "appendResponse":
      writer.u8(message.reject ? 1 : 0);
      writeAll(writer, message.index, message.hintIndex, message.hintTerm);
      return;
    case "vote":
    case "preVote":
      writer.u8(message.transfer ? 1 : 0);
      writeAll(writer, message.lastIndex, message.lastTerm);
      return;
    case "voteResponse":
    case "preVoteResponse":
      writer.u8(message.reject ? 1 : 0);
      return;
    case "heartbeat":
      writeAll(writer, message.commit, message.readRound);
      return;
    case "heartbeatResponse":
      writer.varint(message.readRound);
      return;
    case "snapshot":
      writeAll(writer, message.snapshot.index, message.snapshot.term);
      writeMembership(writer, message.snapshot.membership);
      return;
    case "timeoutNow":
      return;
    case "transferLeader":
      writer.varint(message.target);
      return;
    case "propose":
      writer.varint(message.entries.length);
      for (const { type, data } of message.entries) {
        writer.u8(entryTypes.indexOf(type));
        writer.sized(data);
      }
      return;
    case "readIndex":
      writer.varint(message.requestId);
      return;
    case "readIndexResponse":
      writeAll(writer, message.index, message.requestId);
      return;
    default:
      unreachable(message);
  }
}

function writeAll(writer: ByteWriter, ...values: readonly number[]): void {
  for (const value of values) writer.varint(value);
}

/**
 * Payloads are views of `bytes`, which must not be changed afterwards.
 * @throws DecodeError if the bytes are not one whole message
 */
export function decodeMessage(bytes: Buffer): NetworkMessage {
  const reader = new ByteReader(bytes);
  const seen = reader.u8();
  if (seen !== version) throw new DecodeError(`message of version ${seen}`);
  const kind = kinds[reader.u8()];
  if (kind === undefined) throw new DecodeError("unknown kind of message");
  const from = readId(reader);
  const to = readId(reader);
  const term = readTerm(reader);
  const message = readBody(reader, kind, { from, to, term });
  if (reader.left > 0) throw new DecodeError(`${reader.left} bytes behind the message`);
  return message;
}

interface Head {
  readonly from: StoreId;
  readonly to: StoreId;
  readonly term: Term;
}

function readBody(reader: ByteReader, kind: NetworkMessage["kind"], head: Head): NetworkMessage {
  switch (kind) {
    case "append":
      return readAppend(reader, head);
    case "appendResponse": {
      const reject = readFlag(reader);
      const index = readIndex(reader);
      const hintIndex = readIndex(reader);
      const hintTerm = readTerm(reader);
      checkTerm(hintTerm, head);
      return { kind, ...head, reject, index, hintIndex, hintTerm };
    }
    case "vote":
    case "preVote": {
      const transfer = readFlag(reader);
      const lastIndex = readIndex(reader);
      const lastTerm = readTerm(reader);
      checkPosition(lastIndex, lastTerm);
      checkTerm(lastTerm, head);
      return { kind, ...head, transfer, lastIndex, lastTerm };
    }
    case "voteResponse":
    case "preVoteResponse":
      return { kind, ...head, reject: readFlag(reader) };
    case "heartbeat":
      return { kind, ...head, commit: readIndex(reader), readRound: reader.varint() };
    case "heartbeatResponse":
      return { kind, ...head, readRound: reader.varint() };
    case "snapshot": {
      const index = readIndex(reader);
      const term = readTerm(reader);
      if (index === 0 || term === 0) throw new DecodeError("an empty snapshot");
      checkTerm(term, head);
      return { kind, ...head, snapshot: { index, term, membership: readMembership(reader) } };
    }
    case "timeoutNow":
      return { kind, ...head };
    case "transferLeader":
      return { kind, ...head, target: readId(reader) };
    case "propose":
      return { kind, ...head, entries: readProposals(reader) };
    case "readIndex":
      return { kind, ...head, requestId: reader.varint() };
    case "readIndexResponse":
      return { kind, ...head, index: readIndex(reader), requestId: reader.varint() };
    default:
      return unreachable(kind);
  }
}

function readAppend(reader: ByteReader, head: Head): NetworkMessage {
  const prevIndex = readIndex(reader);
  const prevTerm = readTerm(reader);
  const commit = readIndex(reader);
  checkPosition(prevIndex, prevTerm);
  const count = readCount(reader, entryBytesMin);
  const entries: Entry[] = [];
  let termBefore = prevTerm;
  for (let i = 1; i <= count; i++) {
    const type = readEntryType(reader);
    const term = readTerm(reader);
    if (term < termBefore || term === 0) throw new DecodeError(`term ${term} after ${termBefore}`);
    termBefore = term;
    if (!Number.isSafeInteger(prevIndex + i)) throw new DecodeError("index over 2^53");
    entries.push({ index: toLogIndex(prevIndex + i), term, type, data: reader.sized() });
  }
  checkTerm(termBefore, head);
  return { kind: "append", ...head, prevIndex, prevTerm, commit, entries };
}

function readProposals(reader: ByteReader): { type: EntryType; data: Buffer }[] {
  const count = readCount(reader, proposalBytesMin);
  const entries: { type: EntryType; data: Buffer }[] = [];
  for (let i = 0; i < count; i++) {
    entries.push({ type: readEntryType(reader), data: reader.sized() });
  }
  if (count === 0) throw new DecodeError("an empty proposal");
  return entries;
}

/** Checked before anything is allocated for it. */
function readCount(reader: ByteReader, bytesMin: number): number {
  const count = reader.varint();
  if (count > limits.appendEntries) throw new DecodeError(`${count} entries`);
  if (count * bytesMin > reader.left) throw new DecodeError(`${count} entries in ${reader.left}`);
  return count;
}

/** Only the place before the first entry has no term. */
function checkPosition(index: LogIndex, term: Term): void {
  if ((index === 0) !== (term === 0)) throw new DecodeError(`index ${index} of term ${term}`);
}

/** Nobody's log is ahead of its term. */
function checkTerm(term: Term, head: Head): void {
  if (term > head.term) throw new DecodeError(`term ${term} above the sender's ${head.term}`);
}

function readEntryType(reader: ByteReader): EntryType {
  const type = entryTypes[reader.u8()];
  if (type === undefined) throw new DecodeError("unknown type of entry");
  return type;
}

function readFlag(reader: ByteReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw new DecodeError(`flag ${flag}`);
  return flag === 1;
}

function readId(reader: ByteReader): StoreId {
  return toStoreId(reader.varint());
}

function readTerm(reader: ByteReader): Term {
  return toTerm(reader.varint());
}

function readIndex(reader: ByteReader): LogIndex {
  return toLogIndex(reader.varint());
}
