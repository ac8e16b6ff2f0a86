/**
 * Keys of JSON objects by their hash: which of them an object has already. Two seeded 32-bit
 * hashes of the decoded key stand for the key itself: by chance two keys are taken for one in
 * 2^64 cases, and who would do it on purpose harms his own request only.
 */

const startB = 0x9e3779b9;
const smallObject = 16;
const keptKeys = 4096;
const noTable = new Int32Array(0);
/** Tables of this many slots are used again: most objects with a table need no larger one. */
const commonSlots = 128;
const keptTables = 64;

/** The hash of the key read last. */
export class KeyHash {
  a = 0;
  b = 0;
  isEscaped = false;

  equals(other: KeyHash): boolean {
    return this.a === other.a && this.b === other.b;
  }

  /** Takes over the key bytes[from..to), the valid inside of a JSON string. */
  read(bytes: Uint8Array, from: number, to: number, seed: number, isEscaped: boolean): void {
    let a = seed;
    let b = seed ^ startB;
    this.isEscaped = isEscaped;
    if (isEscaped) {
      this.a = a;
      this.b = b;
      this.readEscaped(bytes, from, to);
      ({ a, b } = this);
    } else {
      for (let i = from; i < to; i++) {
        const byte = bytes[i] as number;
        a = Math.imul(a ^ byte, 0x01000193);
        b = Math.imul(b + byte, 0x85ebca6b) ^ (b >>> 15);
      }
    }
    this.a = a;
    this.b = b ^ (to > from ? b >>> 16 : 0);
  }

  private add(byte: number): void {
    this.a = Math.imul(this.a ^ byte, 0x01000193);
    this.b = Math.imul(this.b + byte, 0x85ebca6b) ^ (this.b >>> 15);
  }

  private readEscaped(bytes: Uint8Array, from: number, to: number): void {
    let i = from;
    while (i < to) {
      const byte = bytes[i] as number;
      if (byte !== 92) {
        this.add(byte);
        i++;
        continue;
      }
      const kind = bytes[i + 1] as number;
      if (kind !== 117) {
        this.add(escapedByte(kind));
        i += 2;
        continue;
      }
      let code = hex4(bytes, i + 2);
      i += 6;
      const isPair = code >> 10 === 0x36 && i + 6 <= to && bytes[i] === 92 && bytes[i + 1] === 117;
      const low = isPair ? hex4(bytes, i + 2) : 0;
      if (low >> 10 === 0x37) {
        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
        i += 6;
      }
      this.addCode(code);
    }
  }

  /** A code point as UTF-8, so that both spellings of a key have one hash. */
  private addCode(code: number): void {
    if (code < 0x80) {
      this.add(code);
      return;
    }
    if (code < 0x800) {
      this.add(0xc0 | (code >> 6));
    } else {
      if (code < 0x10000) {
        this.add(0xe0 | (code >> 12));
      } else {
        this.add(0xf0 | (code >> 18));
        this.add(0x80 | ((code >> 12) & 63));
      }
      this.add(0x80 | ((code >> 6) & 63));
    }
    this.add(0x80 | (code & 63));
  }
}

export function hashText(text: string, seed: number): KeyHash {
  const hash = new KeyHash();
  const bytes = Buffer.from(text);
  hash.read(bytes, 0, bytes.length, seed, false);
  return hash;
}

function escapedByte(kind: number): number {
  switch (kind) {
    case 98:
      return 8;
    case 102:
      return 12;
    case 110:
      return 10;
    case 114:
      return 13;
    case 116:
      return 9;
    default:
      return kind;
  }
}

function hex4(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i++) {
    const byte = bytes[i] as number;
    value = value * 16 + (byte <= 57 ? byte - 48 : (byte | 32) - 87);
  }
  return value;
}

/**
 * The keys of the objects that are open now, innermost last. Small objects are searched in turn;
 * from 17 keys on an object gets a hash table of the places of its keys.
 */
export class KeySet {
  private a = new Int32Array(keptKeys);
  private b = new Int32Array(keptKeys);
  private top = 0;
  /** Tables by the place where their object's keys begin. */
  private readonly tables = new Map<number, Int32Array>();
  /** Emptied ones of `commonSlots`. A new one per object took a third of the time. */
  private readonly spare: Int32Array[] = [];

  /** Starts over; memory that a large body needed is given back. */
  reset(): void {
    this.top = 0;
    if (this.tables.size > 0) this.tables.clear();
    if (this.a.length > keptKeys) {
      this.a = new Int32Array(keptKeys);
      this.b = new Int32Array(keptKeys);
    }
  }

  /** @returns the base of a new object's keys */
  open(): number {
    return this.top;
  }

  /** Forgets the keys of the innermost object. */
  close(base: number): void {
    if (this.top - base > smallObject) this.dropTable(base);
    this.top = base;
  }

  private dropTable(base: number): void {
    const table = this.tables.get(base);
    this.tables.delete(base);
    if (table?.length !== commonSlots || this.spare.length === keptTables) return;
    table.fill(0);
    this.spare.push(table);
  }

  /** @returns false if the object has the key already */
  add(base: number, key: KeyHash): boolean {
    const count = this.top - base;
    if (count < smallObject) {
      for (let i = base; i < this.top; i++) {
        if (this.a[i] === key.a && this.b[i] === key.b) return false;
      }
      this.push(key);
      return true;
    }
    let table = this.tables.get(base) ?? noTable;
    if (table.length < 2 * (count + 1)) {
      table = this.build(base, 8 * count);
      this.tables.set(base, table);
    }
    const slot = this.find(table, key.a, key.b);
    if (table[slot] !== 0) return false;
    this.push(key);
    table[slot] = this.top;
    return true;
  }

  private push(key: KeyHash): void {
    if (this.top === this.a.length) {
      this.a = grown(this.a);
      this.b = grown(this.b);
    }
    this.a[this.top] = key.a;
    this.b[this.top] = key.b;
    this.top++;
  }

  private build(base: number, least: number): Int32Array {
    let size = commonSlots;
    while (size < least) size *= 2;
    const spare = size === commonSlots ? this.spare.pop() : undefined;
    const table = spare ?? new Int32Array(size);
    for (let i = base; i < this.top; i++) {
      table[this.find(table, this.a[i] as number, this.b[i] as number)] = i + 1;
    }
    return table;
  }

  /** The slot of a key, or the empty one where it belongs. Slots hold place + 1. */
  private find(table: Int32Array, a: number, b: number): number {
    const mask = table.length - 1;
    let slot = (b ^ (b >>> 15) ^ a) & mask;
    for (;;) {
      const place = (table[slot] as number) - 1;
      if (place < 0 || (this.a[place] === a && this.b[place] === b)) return slot;
      slot = (slot + 1) & mask;
    }
  }
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}
