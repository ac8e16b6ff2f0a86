/** Claimed tasks on their way from the node that leads their shard to the one whose worker waits. */
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { Grant, TaskExtras } from "../shard/grants.ts";

/** @param index - of the log up to which the claim is applied on the leader */
export function encodeGrants(grants: readonly Grant[], index: number): Buffer {
  let bytes = 64;
  for (const grant of grants) bytes += 256 + 24 * grant.count + payloadBytes(grant);
  const out = new ByteWriter(bytes);
  out.u64(index);
  out.varint(grants.length);
  for (const grant of grants) writeGrant(out, grant);
  return out.finish();
}

function payloadBytes({ count, payloadFrom, payloadTo }: Grant): number {
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += (payloadTo[i] as number) - (payloadFrom[i] as number);
  return bytes;
}

function writeGrant(out: ByteWriter, grant: Grant): void {
  const { count } = grant;
  out.latin1(grant.tenant);
  out.latin1(grant.queue);
  out.u8(grant.priority);
  out.utf8(grant.workerId);
  out.u64(grant.leaseToken);
  out.u64(grant.leaseUntilMs);
  out.u64(grant.createdAtMs);
  out.u64(grant.updatedAtMs);
  out.varint(count);
  out.bytes(grant.ids.subarray(0, 16 * count));
  for (let i = 0; i < count; i++) {
    out.u16(grant.attempts[i] as number);
    out.u16(grant.maxAttempts[i] as number);
    out.sized(grant.block.subarray(grant.payloadFrom[i], grant.payloadTo[i]));
  }
  out.u8(grant.extras ? 1 : 0);
  for (const extras of grant.extras ?? []) writeExtras(out, extras);
}

function writeExtras(out: ByteWriter, extras: TaskExtras | null): void {
  out.u8(extras ? 1 : 0);
  if (!extras) return;
  const { webhook = "", traceParent = "", traceState = "" } = extras;
  for (const text of [webhook, traceParent, traceState]) out.utf8(text);
}

/** @throws DecodeError */
export function decodeGrants(body: Buffer): {
  readonly index: number;
  readonly grants: readonly Grant[];
} {
  const input = new ByteReader(body);
  const index = input.u64();
  const count = input.varint();
  if (count > limits.stepTasks) throw new DecodeError(`${count} grants`);
  return { index, grants: Array.from({ length: count }, () => readGrant(input, body)) };
}

function readGrant(input: ByteReader, block: Buffer): Grant {
  const head = {
    tenant: input.latin1(),
    queue: input.latin1(),
    priority: input.u8(),
    workerId: input.sized().toString("utf8"),
    leaseToken: input.u64(),
    leaseUntilMs: input.u64(),
    createdAtMs: input.u64(),
    updatedAtMs: input.u64(),
  };
  const count = input.varint();
  if (count * 16 > input.left) throw new DecodeError(`${count} tasks in a grant`);
  const ids = Buffer.from(input.bytes(16 * count));
  const attempts = new Uint16Array(count);
  const maxAttempts = new Uint16Array(count);
  const payloadFrom = new Uint32Array(count);
  const payloadTo = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    attempts[i] = input.u16();
    maxAttempts[i] = input.u16();
    const { length } = input.sized();
    payloadTo[i] = block.length - input.left;
    payloadFrom[i] = (payloadTo[i] as number) - length;
  }
  const hasExtras = input.u8() === 1;
  const extras = hasExtras ? Array.from({ length: count }, () => readExtras(input)) : null;
  return { ...head, count, ids, attempts, maxAttempts, block, payloadFrom, payloadTo, extras };
}

function readExtras(input: ByteReader): TaskExtras | null {
  if (input.u8() === 0) return null;
  const text = () => input.sized().toString("utf8");
  const [webhook, traceParent, traceState] = [text(), text(), text()];
  return {
    ...(webhook && { webhook }),
    ...(traceParent && { traceParent }),
    ...(traceState && { traceState }),
  };
}
