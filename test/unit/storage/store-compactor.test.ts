import assert from "node:assert/strict";
import { test } from "node:test";
import { MiB } from "../../../src/base/limits.ts";
import type { Kv } from "../../../src/storage/kv.ts";
import { StoreCompactor } from "../../../src/storage/store-compactor.ts";

/** A store of which only the sizes matter: `live` bytes under P, evenly over its keys, and garbage. */
class SizedKv {
  writtenBytes = 0;
  /** By part of the keys. */
  readonly cells = new Array<number>(64).fill(0);
  live = 0;
  readonly compacted: string[] = [];

  get garbage(): number {
    return this.cells.reduce((sum, bytes) => sum + bytes, 0);
  }

  async diskBytes(): Promise<number> {
    return this.live + this.garbage;
  }

  async sizeOf(gte: Buffer, lt: Buffer): Promise<number> {
    const [from, to] = [position(gte), position(lt)];
    return Math.round((await this.diskBytes()) * Math.max(0, to - from));
  }

  async compact(gte: Buffer, lt: Buffer): Promise<void> {
    this.compacted.push(`${gte.toString("hex")}-${lt.toString("hex")}`);
    this.cells.fill(0, Math.floor(position(gte) * 64), Math.ceil(position(lt) * 64));
  }

  write(bytes: number): void {
    this.writtenBytes += bytes;
    for (const i of this.cells.keys()) this.cells[i] = (this.cells[i] ?? 0) + bytes / 64;
  }
}

/** Where a key lies among those that begin with P, 0..1. */
function position(key: Buffer): number {
  const first = key[0] as number;
  if (first !== 0x50) return first < 0x50 ? 0 : 1;
  return key.readUIntBE(1, 5) / 2 ** 40;
}

function start(kv: SizedKv) {
  const timers: (() => void)[] = [];
  const rounds: unknown[] = [];
  const compactor = new StoreCompactor({
    kv: kv as unknown as Kv,
    clock: { monotonicMs: () => 0, wallMs: () => 0 },
    timers: {
      after: (_ms, callback) => {
        timers.push(callback);
        return { cancel: () => timers.splice(timers.indexOf(callback), 1) };
      },
      soon: (callback) => callback(),
    },
    logger: {
      debug: () => undefined,
      info: (_text, fields) => rounds.push(fields),
      warn: () => undefined,
      error: () => undefined,
      child() {
        return this;
      },
    },
    onFatal: (error) => {
      throw error;
    },
  });
  /** Lets every timer fire, once each. */
  const turn = async () => {
    for (const callback of timers.splice(0)) callback();
    for (let i = 0; i < 500; i++) await Promise.resolve();
  };
  return { compactor, turn, rounds };
}

test("a store whose garbage grows stays within a bound, compacted in pieces", async () => {
  const kv = new SizedKv();
  kv.live = 100 * MiB;
  const { turn } = start(kv);
  let most = 0;
  for (let i = 0; i < 2_000; i++) {
    kv.write(10 * MiB);
    most = Math.max(most, kv.live + kv.garbage);
    await turn();
  }
  assert.ok(kv.compacted.length > 10);
  assert.ok(most < 6 * 128 * MiB, `${most / MiB} MiB`);
});

test("a store that only grows is compacted ever more rarely", async () => {
  const kv = new SizedKv();
  const { turn, rounds } = start(kv);
  for (let i = 0; i < 2_000; i++) {
    kv.writtenBytes += 10 * MiB;
    kv.live += 10 * MiB;
    await turn();
  }
  assert.ok(rounds.length >= 2 && rounds.length <= 7, `${rounds.length} rounds`);
});

test("nothing is looked at while little is written", async () => {
  const kv = new SizedKv();
  kv.live = 1000 * MiB;
  const { turn } = start(kv);
  for (let i = 0; i < 50; i++) await turn();
  assert.deepEqual(kv.compacted, []);
});

test("it ends in the middle of its work", async () => {
  const kv = new SizedKv();
  const { compactor, turn } = start(kv);
  kv.write(2_000 * MiB);
  await turn();
  const begun = kv.compacted.length;
  assert.ok(begun >= 1);
  await compactor.stop();
  assert.equal(kv.compacted.length, begun);
});
