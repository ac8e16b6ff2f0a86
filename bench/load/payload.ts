/**
 * Payloads that carry their task's number: a JSON string, `"000000001234xx…"`, of any size from
 * 14 bytes on. So a delivery says which task it is without a table of ids.
 */

const digits = 12;
/** Quotes and digits: the smallest payload, and the canonical one. */
export const payloadBytesMin = digits + 2;
const zero = 0x30;
const quote = 0x22;

/** A payload whose number is to be set. */
export function createPayload(bytes: number): Buffer {
  if (bytes < payloadBytesMin) throw new Error(`a payload has at least ${payloadBytesMin} bytes`);
  const payload = Buffer.alloc(bytes, "x");
  payload[0] = quote;
  payload[bytes - 1] = quote;
  setNumber(payload, 0);
  return payload;
}

/** @param task - an integer below 10^12 */
export function setNumber(payload: Uint8Array, task: number): void {
  let left = task;
  for (let i = digits; i > 0; i--) {
    const rest = Math.floor(left / 10);
    payload[i] = zero + (left - rest * 10);
    left = rest;
  }
}

/** @param from - where the payload starts. @returns the number, or -1 if it holds none */
export function numberOf(buffer: Uint8Array, from: number): number {
  if (buffer[from] !== quote) return -1;
  let task = 0;
  for (let i = 1; i <= digits; i++) {
    const digit = (buffer[from + i] ?? 0) - zero;
    if (digit < 0 || digit > 9) return -1;
    task = task * 10 + digit;
  }
  return task;
}
