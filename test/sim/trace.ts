/** A running hash over everything that happened: two runs of a seed must have the same. */
export class TraceHash {
  private low = 0x811c9dc5;
  private high = 0x9dc5811c;

  add(timeUs: number, line: string): void {
    this.word(timeUs % 0x1_0000_0000);
    for (let i = 0; i < line.length; i++) this.word(line.charCodeAt(i));
  }

  private word(value: number): void {
    this.low = Math.imul(this.low ^ value, 0x01000193) >>> 0;
    this.high = (Math.imul(this.high, 31) + (this.low >>> 5)) >>> 0;
  }

  text(): string {
    return this.high.toString(16).padStart(8, "0") + this.low.toString(16).padStart(8, "0");
  }
}
