/**
 * The leases one worker stream holds: task id → token and end, in columns (32 bytes each), since
 * every task that is handed out passes through here. Open addressing with linear probing; deleting
 * moves the rest of its cluster back, so there are no tombstones.
 */

const slotsMin = 64;
/** Leader time and this node's clock differ: a lease counts as over only that much later. */
const clockMarginMs = 60_000;

export class HeldLeases {
  /** Invariant: at most half of the slots are used. */
  size = 0;
  private slots = 0;
  private ids = Buffer.alloc(0);
  /** 0 = the slot is free. */
  private tokens = new Float64Array(0);
  private untilMs = new Float64Array(0);

  /** Remembers or renews a lease. @param nowMs - wall clock, to forget leases long over */
  set(id: Uint8Array, at: number, lease: { token: number; untilMs: number; nowMs: number }): void {
    if ((this.size + 1) * 2 > this.slots) this.grow(lease.nowMs);
    const slot = this.find(id, at);
    if (this.tokens[slot] === 0) {
      this.size++;
      for (let i = 0; i < 16; i++) this.ids[slot * 16 + i] = id[at + i] as number;
    }
    this.tokens[slot] = lease.token;
    this.untilMs[slot] = lease.untilMs;
  }

  /** The token under which the task is held, or 0. */
  token(id: Uint8Array, at: number): number {
    return this.slots === 0 ? 0 : (this.tokens[this.find(id, at)] as number);
  }

  /** Moves the end of a lease that is held. */
  extend(id: Uint8Array, at: number, untilMs: number): void {
    if (this.token(id, at) !== 0) this.untilMs[this.find(id, at)] = untilMs;
  }

  /** Forgets a lease; does nothing when it is not held. */
  delete(id: Uint8Array, at: number): void {
    if (this.slots === 0) return;
    let hole = this.find(id, at);
    if (this.tokens[hole] === 0) return;
    this.size--;
    const mask = this.slots - 1;
    for (let slot = (hole + 1) & mask; this.tokens[slot] !== 0; slot = (slot + 1) & mask) {
      const home = hash(this.ids, slot * 16) & mask;
      // Stays if its home lies after the hole, on the way to where it is.
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      this.move(slot, hole);
      hole = slot;
    }
    this.tokens[hole] = 0;
  }

  /** @param visit - the id is at ids[at..at+16) */
  forEach(visit: (ids: Buffer, at: number, token: number) => void): void {
    for (let slot = 0; slot < this.slots; slot++) {
      const token = this.tokens[slot] as number;
      if (token !== 0) visit(this.ids, slot * 16, token);
    }
  }

  private find(id: Uint8Array, at: number): number {
    const mask = this.slots - 1;
    let slot = hash(id, at) & mask;
    while (this.tokens[slot] !== 0 && !this.isAt(slot, id, at)) slot = (slot + 1) & mask;
    return slot;
  }

  private isAt(slot: number, id: Uint8Array, at: number): boolean {
    // From the end: ids of one run differ in their last two bytes.
    for (let i = 15; i >= 0; i--) if (this.ids[slot * 16 + i] !== id[at + i]) return false;
    return true;
  }

  private move(from: number, to: number): void {
    this.ids.copyWithin(to * 16, from * 16, from * 16 + 16);
    this.tokens[to] = this.tokens[from] as number;
    this.untilMs[to] = this.untilMs[from] as number;
  }

  /** Takes over the leases that are not long over, into as many slots as they need. */
  private grow(nowMs: number): void {
    const { ids, tokens, untilMs, slots } = this;
    const isLive = (slot: number): boolean =>
      tokens[slot] !== 0 && (untilMs[slot] as number) + clockMarginMs > nowMs;
    let live = 0;
    for (let slot = 0; slot < slots; slot++) if (isLive(slot)) live++;
    this.slots = slotsMin;
    while (this.slots < live * 4) this.slots *= 2;
    this.size = live;
    this.ids = Buffer.alloc(this.slots * 16);
    this.tokens = new Float64Array(this.slots);
    this.untilMs = new Float64Array(this.slots);
    for (let slot = 0; slot < slots; slot++) {
      if (!isLive(slot)) continue;
      const to = this.find(ids, slot * 16);
      ids.copy(this.ids, to * 16, slot * 16, slot * 16 + 16);
      this.tokens[to] = tokens[slot] as number;
      this.untilMs[to] = untilMs[slot] as number;
    }
  }
}

/** Of the bytes that differ: time, counter, place and the last one. */
function hash(id: Uint8Array, at: number): number {
  const low =
    (id[at + 15] as number) |
    ((id[at + 14] as number) << 8) |
    ((id[at + 7] as number) << 16) |
    ((id[at + 6] as number) << 24);
  const high =
    (id[at + 5] as number) |
    ((id[at + 4] as number) << 8) |
    ((id[at + 3] as number) << 16) |
    ((id[at + 2] as number) << 24);
  const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
