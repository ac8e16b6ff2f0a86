/**
 * Requests that one node passes on to another, and their answers, as bytes (router/peer-calls.ts).
 * Commands travel in the form of the log, results as their columns.
 */
import { assert } from "../base/assert.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { codeOfNumber, errorCodes, type LeaderHint, QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Command, CommandResult, CreateResult } from "../queue/command.ts";
import { EntryReader, EntryWriter } from "../queue/command-codec.ts";
import type { CreateDraft } from "../shard/proposer.ts";

/** What is asked for. Append-only: nodes of two versions talk to each other. */
export const callKinds = {
  create: 1,
  command: 2,
  claim: 3,
  read: 4,
  admin: 6,
  look: 7,
} as const;

export function encodeCommand(command: Command, bulkBytes: number): Buffer {
  const writer = new EntryWriter(0, bulkBytes + 512);
  writer.add(command);
  return writer.finish();
}

/** @throws DecodeError */
export function decodeCommand(body: Buffer): Command {
  const command = new EntryReader(body).next();
  if (!command) throw new DecodeError("no command");
  return command;
}

type NewTasks = Pick<CreateDraft, "tenant" | "queue" | "priority" | "count" | "records">;

export function encodeDraft(draft: NewTasks): Buffer[] {
  const out = new ByteWriter(draft.tenant.length + draft.queue.length + 16);
  out.latin1(draft.tenant);
  out.latin1(draft.queue);
  out.u8(draft.priority);
  out.u16(draft.count);
  return [out.finish(), draft.records];
}

/** @throws DecodeError */
export function decodeDraft(body: Buffer): NewTasks {
  const input = new ByteReader(body);
  const [tenant, queue, priority] = [input.latin1(), input.latin1(), input.u8()];
  const count = input.u16();
  if (count < 1 || count > limits.runTasks) throw new DecodeError(`${count} tasks in a draft`);
  return { tenant, queue, priority, count, records: input.bytes(input.left) };
}

export function encodeDrafted(result: CreateResult, runKey: Buffer, firstPlace: number): Buffer {
  const out = new ByteWriter(64 + 8 * (result.runAt?.length ?? 0));
  out.sized(runKey);
  out.u8(firstPlace);
  writeCreated(out, result);
  return out.finish();
}

/** @throws DecodeError */
export function decodeDrafted(body: Buffer): {
  readonly runKey: Buffer;
  readonly firstPlace: number;
  readonly result: CreateResult;
} {
  const input = new ByteReader(body);
  const runKey = Buffer.from(input.sized());
  const firstPlace = input.u8();
  return { runKey, firstPlace, result: readCreated(input) };
}

function writeCreated(out: ByteWriter, { code, duplicate, createdAt, runAt }: CreateResult): void {
  out.u8(code);
  out.u8(duplicate ? 1 : 0);
  out.u64(createdAt);
  out.varint(runAt ? runAt.length + 1 : 0);
  for (const time of runAt ?? []) out.u64(time);
}

function readCreated(input: ByteReader): CreateResult {
  const code = input.u8();
  const duplicate = input.u8() === 1;
  const createdAt = input.u64();
  const count = input.varint();
  if (count * 8 > input.left + 8) throw new DecodeError(`${count} times`);
  const runAt = count === 0 ? null : Float64Array.from({ length: count - 1 }, () => input.u64());
  return { kind: "created", code, duplicate, createdAt, runAt };
}

/** Results that travel; the place is the number on the wire. */
const resultKinds = ["created", "settled", "canceled", "redriven", "purged", "paused", "done"];

export function encodeResult(result: CommandResult): Buffer {
  const kind = resultKinds.indexOf(result.kind);
  assert(kind >= 0, "a result that travels", result.kind);
  const out = new ByteWriter(64);
  out.u8(kind);
  switch (result.kind) {
    case "created":
      writeCreated(out, result);
      break;
    case "settled":
      out.varint(result.codes.length);
      out.bytes(result.codes);
      out.bytes(result.dead);
      for (const time of result.times) out.u64(time);
      break;
    case "canceled":
      out.u8(result.code);
      out.u64(result.leaseToken);
      out.utf8(result.workerId);
      break;
    case "redriven":
    case "purged":
      out.varint(result.count);
      break;
    case "paused":
      out.u8(result.paused ? 1 : 0);
      out.u8(result.code);
      break;
    default:
  }
  return out.finish();
}

/** @throws DecodeError */
export function decodeResult(body: Buffer): CommandResult {
  const input = new ByteReader(body);
  const kind = resultKinds[input.u8()];
  switch (kind) {
    case "created":
      return readCreated(input);
    case "settled":
      return readSettled(input);
    case "canceled": {
      const [code, leaseToken] = [input.u8(), input.u64()];
      return { kind, code, leaseToken, workerId: input.sized().toString("utf8") };
    }
    case "redriven":
    case "purged":
      return { kind, count: input.varint() };
    case "paused": {
      const paused = input.u8() === 1;
      return { kind, paused, code: input.u8() };
    }
    case "done":
      return { kind };
    default:
      throw new DecodeError("unknown kind of result");
  }
}

function readSettled(input: ByteReader): CommandResult {
  const count = input.varint();
  if (count * 10 > input.left) throw new DecodeError(`${count} settles`);
  const codes = Uint8Array.from(input.bytes(count));
  const dead = Uint8Array.from(input.bytes(count));
  const times = Float64Array.from({ length: count }, () => input.u64());
  return { kind: "settled", codes, dead, times };
}

export function encodeError(error: QueueError): Buffer {
  const out = new ByteWriter(128);
  out.u8(errorCodes[error.code].number);
  out.utf8(error.message);
  out.varint(error.retryAfterSeconds ?? 0);
  const { leader } = error;
  out.u8(leader ? 1 : 0);
  if (leader) {
    out.varint(leader.shard);
    out.varint(leader.term);
    for (const text of [leader.leaderId, leader.leaderHttp, leader.leaderGrpc]) out.utf8(text);
  }
  return out.finish();
}

/** @throws DecodeError */
export function decodeError(body: Buffer): QueueError {
  const input = new ByteReader(body);
  const code = codeOfNumber(input.u8()) ?? "internal";
  const text = input.sized().toString("utf8");
  const retryAfterSeconds = input.varint();
  const leader = input.u8() === 1 ? readLeader(input) : undefined;
  return new QueueError(code, text, {
    ...(leader && { leader }),
    ...(retryAfterSeconds > 0 && { retryAfterSeconds }),
  });
}

function readLeader(input: ByteReader): LeaderHint {
  const [shard, term] = [input.varint(), input.varint()];
  const text = () => input.sized().toString("utf8");
  const [leaderId, leaderHttp, leaderGrpc] = [text(), text(), text()];
  return { shard, term, leaderId, leaderHttp, leaderGrpc };
}
