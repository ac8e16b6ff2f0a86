/**
 * Cursors of lists, as clients see them: opaque texts that hold a position and what it belongs to.
 * A cursor of another tenant or of another filter is refused, and so is one that was changed. They
 * are the same on every node and outlive restarts; nothing in them is secret.
 */
import { createHash } from "node:crypto";

const version = 1;
const sumBytes = 8;

/**
 * @param scope - tenant, route and filter that the position belongs to
 * @param position - 1 to 200 bytes
 */
export function encodeCursor(scope: readonly string[], position: Uint8Array): string {
  const head = Buffer.from([version]);
  return Buffer.concat([head, sumOf(scope, position), position]).toString("base64url");
}

/** @returns the position, or null if it is no cursor of this scope */
export function decodeCursor(scope: readonly string[], text: string): Buffer | null {
  if (!/^[A-Za-z0-9_-]{12,320}$/u.test(text)) return null;
  const bytes = Buffer.from(text, "base64url");
  const position = bytes.subarray(1 + sumBytes);
  if (bytes[0] !== version || position.length === 0) return null;
  if (bytes.toString("base64url") !== text) return null;
  return sumOf(scope, position).equals(bytes.subarray(1, 1 + sumBytes)) ? position : null;
}

function sumOf(scope: readonly string[], position: Uint8Array): Buffer {
  const hash = createHash("sha256").update("quorumq/cursor/1");
  for (const part of scope) hash.update(`${part.length}:${part}`);
  return hash.update(position).digest().subarray(0, sumBytes);
}
