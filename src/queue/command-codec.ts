/**
 * Entries and commands as bytes (DESIGN section 2).
 *
 * Entry: version u8, flags u8, leader time u48 ms, count u16 ≤ 4,096, then per command
 * kind u8, body length u32, body.
 */
import { assert, unreachable } from "../base/assert.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { backoffPolicies, type Command, commandKinds, type Settings } from "./command.ts";

export const entryVersion = 1;
const headerBytes = 10;
const noHash = Buffer.alloc(0);

/** Bytes that the entry adds to each command. */
export const commandOverheadBytes = 5;

/** Builds one entry; commands are written straight into it. */
export class EntryWriter {
  private readonly out: ByteWriter;
  private commands = 0;

  constructor(leaderTimeMs: number, capacity: number) {
    this.out = new ByteWriter(Math.max(capacity, 64));
    this.out.u8(entryVersion);
    this.out.u8(0);
    this.out.u48(leaderTimeMs);
    this.out.u16(0);
  }

  get count(): number {
    return this.commands;
  }

  get bytes(): number {
    return this.out.length;
  }

  /** Appends a command. Its place in the entry is the count before the call. */
  add(command: Command): void {
    assert(this.commands < limits.entryCommands, "commands in an entry", this.commands);
    const { out } = this;
    out.u8(commandKinds[command.kind]);
    const lengthAt = out.length;
    out.u32(0);
    encodeBody(out, command);
    out.buffer.writeUInt32BE(out.length - lengthAt - 4, lengthAt);
    this.commands++;
  }

  finish(): Buffer {
    this.out.buffer.writeUInt16BE(this.commands, headerBytes - 2);
    return this.out.finish();
  }
}

function encodeBody(out: ByteWriter, command: Command): void {
  switch (command.kind) {
    case "create":
      out.latin1(command.tenant);
      out.latin1(command.queue);
      out.u8(command.priority);
      out.sized(command.key);
      out.u16(command.count);
      out.sized(command.requestHash ?? noHash);
      out.bytes(command.records);
      return;
    case "claim":
      out.latin1(command.tenant);
      out.varint(command.queues ? command.queues.length + 1 : 0);
      for (const queue of command.queues ?? []) out.latin1(queue);
      out.u16(command.count);
      out.u32(command.bytesMax);
      out.u32(command.leaseMs);
      out.utf8(command.workerId);
      return;
    case "settle":
      out.latin1(command.tenant);
      out.utf8(command.workerId);
      out.u16(command.count);
      out.bytes(command.groups);
      return;
    case "cancel":
      out.latin1(command.tenant);
      out.sized(command.key);
      out.u8(command.place);
      return;
    case "expire":
      out.u16(command.limit);
      return;
    case "redrive":
    case "purge":
      out.latin1(command.tenant);
      out.latin1(command.queue);
      out.u16(command.kind === "redrive" ? command.limit : command.states);
      out.bytes(command.ids);
      return;
    case "pause":
      out.latin1(command.tenant);
      out.latin1(command.queue);
      out.u8(command.paused ? 1 : 0);
      return;
    case "configure":
      encodeSettings(out, command.settings);
      return;
    case "raiseTokens":
      return;
    default:
      unreachable(command);
  }
}

export function encodeSettings(out: ByteWriter, settings: Settings): void {
  out.u8(backoffPolicies.indexOf(settings.backoffPolicy));
  out.u48(settings.backoffBaseMs);
  out.u48(settings.backoffMaxMs);
  out.u48(settings.doneRetentionMs);
  out.u48(settings.deadRetentionMs);
}

export function decodeSettings(input: ByteReader): Settings {
  const backoffPolicy = backoffPolicies[input.u8()];
  if (!backoffPolicy) throw new DecodeError("unknown backoff policy");
  return {
    backoffPolicy,
    backoffBaseMs: input.u48(),
    backoffMaxMs: input.u48(),
    doneRetentionMs: input.u48(),
    deadRetentionMs: input.u48(),
  };
}

/** Walks the commands of one entry. */
export class EntryReader {
  readonly timeMs: number;
  readonly count: number;
  private readonly input: ByteReader;
  private taken = 0;

  /** @throws DecodeError for another version: this build must not guess */
  constructor(entry: Buffer) {
    this.input = new ByteReader(entry);
    const version = this.input.u8();
    if (version !== entryVersion) {
      throw new DecodeError(`entry of version ${version}, this build knows ${entryVersion}`);
    }
    const flags = this.input.u8();
    if (flags !== 0) throw new DecodeError(`entry with unknown flags ${flags}`);
    this.timeMs = this.input.u48();
    this.count = this.input.u16();
  }

  /** Place of the command that `next` gives next. */
  get place(): number {
    return this.taken;
  }

  /** The next command, or null after the last. Its buffers share memory with the entry. */
  next(): Command | null {
    if (this.taken === this.count) {
      if (this.input.left !== 0) throw new DecodeError("bytes behind the last command");
      return null;
    }
    this.taken++;
    const kind = this.input.u8();
    const size = this.input.u32();
    const from = this.input.at;
    this.input.skip(size);
    return decodeBody(kind, new ByteReader(this.input.buffer, from, from + size));
  }
}

function decodeBody(kind: number, input: ByteReader): Command {
  switch (kind) {
    case commandKinds.create: {
      const tenant = input.latin1();
      const queue = input.latin1();
      const priority = input.u8();
      const key = input.sized();
      const count = input.u16();
      const hash = input.sized();
      const records = input.bytes(input.left);
      const requestHash = hash.length === 0 ? null : hash;
      return { kind: "create", tenant, queue, priority, key, count, requestHash, records };
    }
    case commandKinds.claim:
      return decodeClaim(input);
    case commandKinds.settle: {
      const tenant = input.latin1();
      const workerId = input.utf8();
      const count = input.u16();
      return { kind: "settle", tenant, workerId, count, groups: input.bytes(input.left) };
    }
    case commandKinds.cancel: {
      const tenant = input.latin1();
      const key = input.sized();
      return { kind: "cancel", tenant, key, place: input.u8() };
    }
    case commandKinds.expire:
      return { kind: "expire", limit: input.u16() };
    case commandKinds.redrive: {
      const tenant = input.latin1();
      const queue = input.latin1();
      const limit = input.u16();
      return { kind: "redrive", tenant, queue, limit, ids: input.bytes(input.left) };
    }
    case commandKinds.purge: {
      const tenant = input.latin1();
      const queue = input.latin1();
      const states = input.u16();
      return { kind: "purge", tenant, queue, states, ids: input.bytes(input.left) };
    }
    case commandKinds.pause: {
      const tenant = input.latin1();
      const queue = input.latin1();
      return { kind: "pause", tenant, queue, paused: input.u8() === 1 };
    }
    case commandKinds.configure:
      return { kind: "configure", settings: decodeSettings(input) };
    case commandKinds.raiseTokens:
      return { kind: "raiseTokens" };
    default:
      throw new DecodeError(`command of unknown kind ${kind}`);
  }
}

function decodeClaim(input: ByteReader): Command {
  const tenant = input.latin1();
  const named = input.varint();
  const queues: string[] = [];
  for (let i = 1; i < named; i++) queues.push(input.latin1());
  return {
    kind: "claim",
    tenant,
    queues: named === 0 ? null : queues,
    count: input.u16(),
    bytesMax: input.u32(),
    leaseMs: input.u32(),
    workerId: input.utf8(),
  };
}
