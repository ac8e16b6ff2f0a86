/**
 * FNV-1a, 64 bits, over bytes (draft-eastlake-fnv), in 32-bit halves: BigInt would cost
 * about 20 times as much on this path.
 */

/** State of a hash in progress. Reused by its owner; not shared. */
export interface Fnv64 {
  hi: number;
  lo: number;
}

const offsetHi = 0xcbf29ce4;
const offsetLo = 0x84222325;
/** The prime is 2^40 + 0x1b3. */
const primeLow = 0x1b3;

export function fnvStart(state: Fnv64): void {
  state.hi = offsetHi;
  state.lo = offsetLo;
}

export function fnvByte(state: Fnv64, byte: number): void {
  const lo = (state.lo ^ byte) >>> 0;
  // (hi·2^32 + lo) · (2^40 + 0x1b3) mod 2^64
  const low = lo * primeLow;
  const carry = Math.floor(low / 0x1_0000_0000);
  const high = (Math.imul(state.hi, primeLow) >>> 0) + carry + ((lo << 8) >>> 0);
  state.lo = low >>> 0;
  state.hi = high >>> 0;
}

export function fnvBytes(state: Fnv64, bytes: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) fnvByte(state, bytes[i] as number);
}

/** In which of n buckets the hash falls if one more byte is added; the state stays as it is; n ≤ 2^20. */
export function fnvModWith(state: Fnv64, byte: number, n: number): number {
  const lo = (state.lo ^ byte) >>> 0;
  // Of a power of two only the lowest bits count.
  if ((n & (n - 1)) === 0 && n <= 0x1_0000) return Math.imul(lo, primeLow) & (n - 1);
  const low = lo * primeLow;
  const carry = Math.floor(low / 0x1_0000_0000);
  const high = (Math.imul(state.hi, primeLow) >>> 0) + carry + ((lo << 8) >>> 0);
  return (((high >>> 0) % n) * (0x1_0000_0000 % n) + ((low >>> 0) % n)) % n;
}
