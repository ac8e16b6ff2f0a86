/**
 * Where the members of a group are found: what a leader tells clients and a node dials. It travels
 * with membership changes, in their context, and stands beside the log.
 */
import { type StoreId, toStoreId } from "../base/brand.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { NodeAddress } from "../transport/transport.ts";

export interface Member extends NodeAddress {
  readonly storeId: StoreId;
}

/** Sorted by store id; each once. */
export type Members = readonly Member[];

const version = 1;

export function writeMembers(out: ByteWriter, members: Members): void {
  out.u8(version);
  out.varint(members.length);
  for (const { storeId, nodeId, raft, http, grpc } of members) {
    out.varint(storeId);
    for (const text of [nodeId, raft, http, grpc]) out.utf8(text);
  }
}

/** @throws DecodeError if the bytes do not have the form */
export function readMembers(input: ByteReader): Members {
  const seen = input.u8();
  if (seen !== version) throw new DecodeError(`members of version ${seen}`);
  const count = input.varint();
  if (count > limits.memberChanges) throw new DecodeError(`${count} members`);
  return Array.from({ length: count }, () => {
    const storeId = toStoreId(input.varint());
    const [nodeId, raft, http, grpc] = [text(input), text(input), text(input), text(input)];
    return { storeId, nodeId, raft, http, grpc };
  });
}

function text(input: ByteReader): string {
  return input.sized().toString("utf8");
}

export function encodeMembers(members: Members): Buffer {
  const out = new ByteWriter(64 * (members.length + 1));
  writeMembers(out, members);
  return out.finish();
}

/** @throws DecodeError */
export function decodeMembers(bytes: Buffer): Members {
  const input = new ByteReader(bytes);
  const members = readMembers(input);
  if (input.left > 0) throw new DecodeError(`${input.left} bytes behind the members`);
  return members;
}

/** The list with these added or replaced. */
export function withMembers(members: Members, more: Members): Members {
  const byId = new Map(members.map((member) => [member.storeId, member]));
  for (const member of more) byId.set(member.storeId, member);
  return [...byId.values()].sort((a, b) => a.storeId - b.storeId);
}
