/**
 * A set of states by 53 bits of their hash: eight bytes each. Two different states are taken for one
 * with a probability of about n² / 2^54 (one in 18,000 at a million states).
 */
export class StateSet {
  size = 0;
  private slots = new Float64Array(2 ** 16);

  /** @returns false if it is there already */
  add(state: ArrayLike<number>): boolean {
    if (this.size * 2 > this.slots.length) this.grow();
    if (!place(this.slots, hashOf(state))) return false;
    this.size++;
    return true;
  }

  private grow(): void {
    const larger = new Float64Array(this.slots.length * 2);
    for (const hash of this.slots) if (hash !== 0) place(larger, hash);
    this.slots = larger;
  }
}

function place(slots: Float64Array, hash: number): boolean {
  const mask = slots.length - 1;
  for (let at = hash % slots.length; ; at = (at + 1) & mask) {
    const found = slots[at];
    if (found === hash) return false;
    if (found === 0) {
      slots[at] = hash;
      return true;
    }
  }
}

/** Never 0. */
function hashOf(state: ArrayLike<number>): number {
  let high = 0x811c9dc5;
  let low = 0x9e3779b9;
  for (let i = 0; i < state.length; i++) {
    const value = state[i] as number;
    high = Math.imul(high ^ value, 0x01000193);
    high ^= high >>> 15;
    low = Math.imul(low ^ (value + 0x7f4a7c15), 0x85ebca6b);
    low ^= low >>> 13;
  }
  return (high >>> 0) * 2 ** 21 + ((low >>> 0) % 2 ** 21) + 1;
}
