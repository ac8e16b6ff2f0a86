/**
 * Memory that many hold a part of and that is bounded in all: when it is used up, whoever holds most
 * of it gives up. So one who takes much loses it, and those who take little notice nothing.
 */

export interface BudgetHolder {
  /** Lets go of what it holds. Called by the budget, which has forgotten the holder already. */
  giveUp(): void;
}

export class ByteBudget<Holder extends BudgetHolder> {
  private total = 0;
  private readonly parts = new Map<Holder, number>();
  private readonly bytesMax: number;

  /** @param bytesMax - at least what a single holder may need */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Bytes that are held. */
  get bytes(): number {
    return this.total;
  }

  /** The holder has so many bytes now; 0 = none. Some holder may give up, this one too. */
  hold(holder: Holder, bytes: number): void {
    const before = this.parts.get(holder) ?? 0;
    if (bytes === before) return;
    this.total += bytes - before;
    if (bytes === 0) this.parts.delete(holder);
    else this.parts.set(holder, bytes);
    while (this.total > this.bytesMax) this.evict();
  }

  private evict(): void {
    let most: Holder | undefined;
    let bytes = 0;
    for (const [holder, part] of this.parts) {
      if (part <= bytes) continue;
      most = holder;
      bytes = part;
    }
    if (most === undefined) return;
    this.parts.delete(most);
    this.total -= bytes;
    most.giveUp();
  }
}
