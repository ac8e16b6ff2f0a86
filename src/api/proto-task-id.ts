/** Task ids in frames: the text of a UUID to 16 bytes and back, without a string in between. */
import { isTaskId } from "../base/task-id.ts";

const hexDigits = Buffer.from("0123456789abcdef", "latin1");
const nibbles = buildNibbles();

function buildNibbles(): Uint8Array {
  const table = new Uint8Array(256).fill(255);
  for (let i = 0; i < 16; i++) {
    table["0123456789abcdef".charCodeAt(i)] = i;
    table["0123456789ABCDEF".charCodeAt(i)] = i;
  }
  return table;
}

/**
 * Parses the text at buffer[from..to) into `out[0..16)`.
 * @returns false when it is not the text of a task id; `out` is then undefined
 */
export function parseTaskIdAscii(
  buffer: Buffer,
  from: number,
  to: number,
  out: Uint8Array,
): boolean {
  if (to - from !== 36) return false;
  let at = from;
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) {
      if (buffer[at] !== 45) return false;
      at++;
    }
    const high = nibbles[buffer[at] as number] as number;
    const low = nibbles[buffer[at + 1] as number] as number;
    if ((high | low) > 15) return false;
    out[i] = (high << 4) | low;
    at += 2;
  }
  return isTaskId(out);
}

/** Writes the 36 characters of the id at ids[at..at+16) to `out[to..to+36)`. */
export function writeTaskIdAscii(ids: Uint8Array, at: number, out: Buffer, to: number): void {
  let place = to;
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) out[place++] = 45;
    const byte = ids[at + i] as number;
    out[place++] = hexDigits[byte >> 4] as number;
    out[place++] = hexDigits[byte & 15] as number;
  }
}
