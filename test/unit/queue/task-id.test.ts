import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { type Fnv64, fnvBytes, fnvModWith, fnvStart } from "../../../src/base/fnv1a64.ts";
import {
  createRunKeySource,
  formatTaskId,
  isTaskId,
  parseTaskId,
  runKeyLength,
  shardOfTask,
  shardOfTaskId,
  taskIdVersion,
  writeTaskId,
} from "../../../src/base/task-id.ts";

function fnv(bytes: Uint8Array): Fnv64 {
  const state: Fnv64 = { hi: 0, lo: 0 };
  fnvStart(state);
  fnvBytes(state, bytes, 0, bytes.length);
  return state;
}

function fnvText(bytes: Uint8Array): string {
  const { hi, lo } = fnv(bytes);
  return hi.toString(16).padStart(8, "0") + lo.toString(16).padStart(8, "0");
}

function fnvBigInt(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & ((1n << 64n) - 1n);
  return hash;
}

const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });

it("hashes as FNV-1a does: the vectors of DESIGN section 2, and big integers", () => {
  assert.equal(fnvText(new Uint8Array(16)), "88201fb960ff6465");
  assert.equal(fnvText(new Uint8Array(16).fill(255)), "d6607508f5a1e855");
  const id = new Uint8Array(16);
  assert.ok(parseTaskId("01890a5d-ac96-774b-bcce-b302099a8057", id));
  assert.equal(fnvText(id), "3fc1159c6b8a02f3");
  fc.assert(
    fc.property(sixteen, fc.integer({ min: 1, max: 2 ** 20 }), (bytes, n) => {
      const wanted = fnvBigInt(bytes);
      assert.equal(fnvText(bytes), wanted.toString(16).padStart(16, "0"));
      const state = fnv(bytes.subarray(0, 15));
      for (const buckets of [n, 2 ** (n % 21)]) {
        const bucket = fnvModWith(state, bytes[15] as number, buckets);
        assert.equal(bucket, Number(wanted % BigInt(buckets)));
      }
    }),
  );
});

it("parses what it formats, in either case, and nothing that is no UUID of version 7 or 8", () => {
  const id = sixteen.map((bytes) => {
    bytes[6] = ((bytes[0] as number) % 2 === 0 ? 0x70 : 0x80) | ((bytes[6] as number) & 15);
    bytes[8] = 0x80 | ((bytes[8] as number) & 63);
    return bytes;
  });
  const out = new Uint8Array(20);
  fc.assert(
    fc.property(id, (bytes) => {
      const text = formatTaskId(bytes);
      assert.match(
        text,
        /^[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      );
      for (const form of [text, text.toUpperCase()]) {
        assert.ok(parseTaskId(form, out, 3));
        assert.deepEqual(out.subarray(3, 19), bytes);
      }
      assert.equal(runKeyLength(bytes), taskIdVersion(bytes) === 8 ? 16 : 14);
    }),
  );
  const good = "01890a5d-ac96-774b-bcce-b302099a8057";
  const bad = [
    "",
    good.slice(1),
    `${good}0`,
    good.replace("-", "_"),
    good.replace("7", "g"),
    good.replace("0", "é"),
    good.replace("0", "\u0130"),
    good.replace("774b", "474b"),
    good.replace("bcce", "ccce"),
  ];
  for (const text of bad) assert.equal(parseTaskId(text, out), false, text);
});

it("never takes text that differs from its own form but for the case", () => {
  const chars = fc.constantFrom(..."0123456789abcdefABCDEFgG-: é".split(""));
  const out = new Uint8Array(16);
  const base = "01890a5d-ac96-774b-bcce-b302099a8057";
  fc.assert(
    fc.property(fc.nat({ max: 35 }), chars, (at, char) => {
      const text = base.slice(0, at) + char + base.slice(at + 1);
      if (parseTaskId(text, out)) assert.equal(formatTaskId(out), text.toLowerCase());
    }),
  );
});

it("every shard of every shard count can be reached from every place of a run", () => {
  const key = new Uint8Array(14);
  const source = createRunKeySource(Uint8Array.of(1, 2, 3, 4, 5, 6));
  const id = new Uint8Array(16);
  for (let shards = 1; shards <= 256; shards++) {
    source.next(1_700_000_000_000 + shards, key, 0);
    for (let shard = 0; shard < shards; shard++) {
      const place = (shard * 7 + shards) % 256;
      writeTaskId(key, place, shard, shards, id);
      assert.ok(isTaskId(id));
      assert.equal(shardOfTaskId(id, 0, shards), shard, `${shard} of ${shards}`);
      assert.equal(shardOfTask(id, 0, shards), shard);
      assert.equal(id[14], place);
    }
  }
});

it("an id has one form: another last byte that leads to the shard is not taken", () => {
  const key = new Uint8Array(14).fill(0x70);
  key[8] = 0x80;
  const id = new Uint8Array(16);
  writeTaskId(key, 9, 1, 4, id);
  const last = id[15] as number;
  let canonical = 0;
  let same = 0;
  for (let byte = 0; byte < 256; byte++) {
    id[15] = byte;
    if (shardOfTaskId(id, 0, 4) !== 1) continue;
    same++;
    const found = shardOfTask(id, 0, 4);
    assert.ok(found === 1 || found === -1);
    if (found === 1) {
      canonical++;
      assert.equal(byte, last);
    }
  }
  assert.ok(same > 1);
  assert.equal(canonical, 1);
});

it("ids of several runs in any order get the shards of their hash", () => {
  const runs = fc.array(fc.uint8Array({ minLength: 14, maxLength: 14 }), {
    minLength: 1,
    maxLength: 3,
  });
  const steps = fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 255 })), { maxLength: 20 });
  // Runs that differ in one byte only: where the look at the last one could go wrong.
  const near = fc.tuple(runs, fc.nat({ max: 13 })).map(([[first], at]) => {
    const other = Uint8Array.from(first as Uint8Array);
    other[at] = (other[at] as number) ^ 1;
    return [first as Uint8Array, other];
  });
  fc.assert(
    fc.property(fc.oneof(runs, near), steps, fc.integer({ min: 2, max: 256 }), (keys, all, n) => {
      const id = new Uint8Array(16);
      for (const [which, place] of all) {
        const key = keys[which % keys.length] as Uint8Array;
        const shard = place % n;
        writeTaskId(key, place, shard, n, id);
        assert.equal(Number(fnvBigInt(id) % BigInt(n)), shard);
        id[15] = (id[15] as number) ^ 255;
        assert.equal(shardOfTaskId(id, 0, n), Number(fnvBigInt(id) % BigInt(n)));
      }
    }),
  );
});

it("run keys of one source never repeat and sort by time, whatever the clock does", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 5 }), { maxLength: 50 }), (steps) => {
      const source = createRunKeySource(Uint8Array.of(250, 2, 3, 4, 5, 6));
      let wall = 1_700_000_000_000;
      let before = "";
      const key = Buffer.alloc(14);
      for (const step of steps) {
        // Back and forth, and standing still.
        wall += step - 2;
        source.next(wall, key, 0);
        const text = key.toString("hex");
        assert.ok(text > before, `${before} ${text}`);
        before = text;
        assert.ok(isTaskId(Buffer.concat([key, Buffer.alloc(2)])));
      }
    }),
  );
});

it("more than 4,096 runs in a millisecond borrow from the next one", () => {
  const source = createRunKeySource(Uint8Array.of(1, 2, 3, 4, 5, 6));
  const key = Buffer.alloc(14);
  const seen = new Set<string>();
  let before = "";
  for (let i = 0; i < 10_000; i++) {
    source.next(1000, key, 0);
    const text = key.toString("hex");
    assert.ok(text > before);
    before = text;
    seen.add(text);
  }
  assert.equal(seen.size, 10_000);
  assert.equal(key.readUIntBE(0, 6), 1002);
});
