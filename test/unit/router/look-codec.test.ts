import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DecodeError } from "../../../src/base/bytes.ts";
import { limits } from "../../../src/base/limits.ts";
import {
  decodeCounts,
  decodeLook,
  decodeNames,
  decodeReads,
  decodeRetained,
  decodeScan,
  decodeTask,
  decodeTaskQuestion,
  encodeCounts,
  encodeLook,
  encodeNames,
  encodeReads,
  encodeRetained,
  encodeScan,
  encodeTask,
  encodeTaskQuestion,
  type Look,
} from "../../../src/router/look-codec.ts";
import type { TaskRead } from "../../../src/shard/reads.ts";

const runKey = "\x01\xff\x00key of a run";
const refs = [
  { id: "0123456789abcde\xff", runKey, place: 0 },
  { id: "0123456789abcdef", runKey, place: 255 },
];

const task: TaskRead = {
  tenant: "acme",
  queue: "mail",
  priority: 9,
  state: "failed",
  attempts: 3,
  maxAttempts: 1000,
  payload: Buffer.from('{"a":1}'),
  workerId: "wörker",
  leaseToken: 2 ** 52,
  leaseUntilMs: 1_800_000_000_000,
  runAtMs: 0,
  createdAtMs: 1_700_000_000_000,
  updatedAtMs: 1_700_000_000_001,
  error: "no such address ✗",
  extras: { traceParent: "00-1" },
  result: {
    status: "FAILED",
    result: Buffer.from("7"),
    error: "no such address ✗",
    completedAtMs: 1_700_000_000_001,
  },
};

describe("looks at another node's shard", () => {
  const looks: readonly Look[] = [
    {
      kind: "scan",
      filter: { tenant: "t", queue: null, states: 0x1ff },
      bounds: { after: "", limit: 1000, rows: 20_000 },
    },
    {
      kind: "scan",
      filter: { tenant: "t", queue: "q", states: 2 },
      bounds: { after: "\xff\x00", limit: 1, rows: 1 },
    },
    { kind: "read", tenant: "t", refs },
    { kind: "names", tenant: "t", bounds: { after: "q", limit: 7 } },
    { kind: "counts", tenant: "t", queue: "q" },
    { kind: "retained", tenant: "t", from: "E\x00\xff", bounds: { beforeMs: 2 ** 47, limit: 3 } },
  ];
  for (const look of looks) {
    test(`travel whole: ${look.kind}`, () => assert.deepEqual(decodeLook(encodeLook(look)), look));
  }

  test("that are none are refused", () => {
    assert.throws(() => decodeLook(Buffer.of(9)), DecodeError);
    const whole = encodeLook({ kind: "read", tenant: "t", refs });
    for (let end = 0; end < whole.length; end++) {
      assert.throws(() => decodeLook(whole.subarray(0, end)), DecodeError, String(end));
    }
  });
});

describe("what is seen there", () => {
  test("travels whole", () => {
    for (const scan of [
      { refs, end: null },
      { refs: [], end: "\xff" },
    ]) {
      assert.deepEqual(decodeScan(encodeScan(scan)), scan);
    }
    assert.deepEqual(decodeNames(encodeNames(["a", "b"])), ["a", "b"]);
    const counts = {
      ...{ ready: 1e9, delayed: 2, leased: 3, dead: 4, tasks: 5, paused: true },
      ...{ oldestReadyAgeMs: 6, createdPerSecond: 1.5, settledPerSecond: 0 },
    };
    assert.deepEqual(decodeCounts(encodeCounts(counts)), counts);
    assert.equal(decodeCounts(encodeCounts(null)), null);
    const byQueue = new Map([["q", [Buffer.alloc(16, 1), Buffer.alloc(16, 2)]]]);
    const retained = { byQueue, count: 2, next: "E" };
    assert.deepEqual(decodeRetained(encodeRetained(retained)), retained);
  });

  test("a task: payload and result each in a frame of its own", () => {
    assert.deepEqual(decodeTask(encodeTask(task, "task")), { ...task, result: null });
    const result = decodeTask(encodeTask(task, "result"));
    assert.deepEqual(result, { ...task, payload: Buffer.alloc(0) });
    const bare = { ...task, extras: null, result: null };
    assert.deepEqual(decodeTask(encodeTask(bare, "result")), {
      ...bare,
      payload: Buffer.alloc(0),
    });
    const question = { tenant: "t", id: Buffer.alloc(16, 3), part: "result", waitMs: 5 } as const;
    assert.deepEqual(decodeTaskQuestion(encodeTaskQuestion(question)), question);
  });

  test("tasks: as many as fit, the first in any case", () => {
    const listed = { ...task, result: null };
    assert.deepEqual(decodeReads(encodeReads([task, null, task])), [listed, null, listed]);
    const long = { ...listed, payload: Buffer.alloc(limits.listBytes + 1) };
    assert.deepEqual(decodeReads(encodeReads([long, listed])), [long]);
    assert.deepEqual(decodeReads(encodeReads([listed, null, long])), [listed, null]);
  });
});
