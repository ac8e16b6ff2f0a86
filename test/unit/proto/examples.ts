/** Grants to be encoded in tests. */
import type { GrantColumns, TaskTexts } from "../../../src/api/task-coder.ts";

export interface GrantShape {
  readonly queue: string;
  readonly workerId: string;
  readonly priority: number;
  readonly leaseToken: number;
  readonly texts: TaskTexts | null;
}

/** A grant of one task per payload, leased until 2026-01-02T03:04:05.006Z. */
export function exampleGrant(payloads: readonly Buffer[], shape: GrantShape): GrantColumns {
  const { texts, ...rest } = shape;
  const count = payloads.length;
  const ids = Buffer.alloc(count * 16);
  const payloadFrom = new Uint32Array(count);
  const payloadTo = new Uint32Array(count);
  let at = 0;
  for (const [i, payload] of payloads.entries()) {
    ids.set([1, 144, 10, 93, 172, i, 0x70, 3, 0x80, 1, 2, 3, 4, 5, i, 200], i * 16);
    payloadFrom[i] = at;
    at += payload.length;
    payloadTo[i] = at;
  }
  return {
    tenant: "acme",
    ...rest,
    leaseUntilMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
    createdAtMs: 1_767_000_000_001,
    updatedAtMs: 1_767_000_001_000,
    count,
    ids,
    attempts: Uint16Array.from(payloads, (_, i) => 1 + i),
    maxAttempts: Uint16Array.from(payloads, (_, i) => 5 + i),
    block: Buffer.concat([...payloads]),
    payloadFrom,
    payloadTo,
    extras: texts === null ? null : payloads.map(() => texts),
  };
}
