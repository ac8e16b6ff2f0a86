/**
 * A membership change as the data of a log entry.
 *
 *   u8 version = 1 · u8 form (0: v1, 1..3: v2 by transition) · varint count
 *   per change: u8 type · u64 id
 *   then the context: all that is left
 *
 * Empty bytes are the v2 change that leaves a joint configuration: a leader can always afford it.
 */

import { type StoreId, toStoreId } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { ConfChange, EntryType, MemberChange, MemberChangeType, Membership } from "./types.ts";

const version = 1;
const changeTypes: readonly MemberChangeType[] = ["addVoter", "addLearner", "remove", "update"];
const transitions = ["auto", "jointImplicit", "jointExplicit"] as const;

/** The type of the entry that carries this change. */
export function confChangeEntryType(change: ConfChange): EntryType {
  return change.kind === "v1" ? "confChange" : "confChangeV2";
}

export function encodeConfChange(change: ConfChange): Buffer {
  const isV1 = change.kind === "v1";
  const changes = isV1 ? [change.change] : change.changes;
  const form = isV1 ? 0 : 1 + transitions.indexOf(change.transition);
  if (form === 1 && changes.length === 0 && change.context.length === 0) return Buffer.alloc(0);
  const writer = new ByteWriter(32 + change.context.length);
  writer.u8(version);
  writer.u8(form);
  writer.varint(changes.length);
  for (const { type, id } of changes) {
    writer.u8(changeTypes.indexOf(type));
    writer.u64(id);
  }
  writer.bytes(change.context);
  return writer.finish();
}

/** @throws DecodeError if the bytes are not an encoded change */
export function decodeConfChange(data: Buffer): ConfChange {
  if (data.length === 0) {
    return { kind: "v2", transition: "auto", changes: [], context: Buffer.alloc(0) };
  }
  const reader = new ByteReader(data);
  const seen = reader.u8();
  if (seen !== version) throw new DecodeError(`membership change of version ${seen}`);
  const form = reader.u8();
  const count = reader.varint();
  if (count > limits.memberChanges) throw new DecodeError(`${count} membership changes`);
  const changes: MemberChange[] = [];
  for (let i = 0; i < count; i++) {
    const type = changeTypes[reader.u8()];
    if (type === undefined) throw new DecodeError("unknown membership change");
    changes.push({ type, id: toStoreId(reader.u64()) });
  }
  const context = reader.bytes(reader.left);
  if (form === 0) {
    const change = changes[0];
    if (change === undefined || count !== 1) throw new DecodeError(`${count} changes in v1`);
    return { kind: "v1", change, context };
  }
  const transition = transitions[form - 1];
  if (transition === undefined) throw new DecodeError(`membership change of form ${form}`);
  return { kind: "v2", transition, changes, context };
}

/** A membership, for snapshots and for the driver's own records. */
export function writeMembership(writer: ByteWriter, membership: Membership): void {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = membership;
  for (const ids of [voters, votersOutgoing, learners, learnersNext]) {
    writer.varint(ids.length);
    for (const id of ids) writer.varint(id);
  }
  writer.u8(autoLeave ? 1 : 0);
}

/** @throws DecodeError also if it is not a sound membership (types.ts) */
export function readMembership(reader: ByteReader): Membership {
  const voters = readIds(reader);
  const votersOutgoing = readIds(reader);
  const learners = readIds(reader);
  const learnersNext = readIds(reader);
  const flag = reader.u8();
  if (flag > 1) throw new DecodeError(`flag ${flag}`);
  const membership = { voters, votersOutgoing, learners, learnersNext, autoLeave: flag === 1 };
  const isSound =
    learners.every((id) => !voters.includes(id) && !votersOutgoing.includes(id)) &&
    learnersNext.every((id) => votersOutgoing.includes(id) && !voters.includes(id)) &&
    (votersOutgoing.length > 0 || !membership.autoLeave);
  if (!isSound) throw new DecodeError("a member in two places");
  return membership;
}

function readIds(reader: ByteReader): StoreId[] {
  const count = reader.varint();
  if (count > limits.memberChanges) throw new DecodeError(`${count} members`);
  const ids: StoreId[] = [];
  let last = 0;
  for (let i = 0; i < count; i++) {
    const id = reader.varint();
    if (id <= last) throw new DecodeError(`member ${id} after ${last}`);
    ids.push(toStoreId(id));
    last = id;
  }
  return ids;
}
