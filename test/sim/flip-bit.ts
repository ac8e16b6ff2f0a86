/**
 * Flips one bit in place.
 * @param where - 0 ≤ where < 1 picks the bit
 */
export function flipBit(bytes: Buffer, where: number): void {
  const bit = Math.floor(where * bytes.length * 8);
  bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
}
