import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../../../src/base/bytes.ts";
import { settleOps } from "../../../src/queue/command.ts";
import {
  readResultRow,
  SettleGroupReader,
  SettleGroupWriter,
} from "../../../src/queue/settle-groups.ts";
import { runKeyOf, type SettleItem, taskIdOf, toCommand } from "../../queue/ops.ts";

const opNames = ["complete", "fail", "nack", "abandon", "release", "heartbeat"] as const;

const item: fc.Arbitrary<SettleItem> = fc
  .record({
    op: fc.constantFrom(...opNames),
    run: fc.nat({ max: 2 }),
    place: fc.nat({ max: 255 }),
    token: fc.constantFrom(0, 1, 4096, 2 ** 53 - 1),
    ms: fc.constantFrom(-1, 0, 1, 315_360_000_000),
    result: fc.option(fc.constantFrom("", "x", "y".repeat(300))),
    error: fc.constantFrom("", "why"),
  })
  .map(({ run, op, ms, result, error, place, token }) => {
    const keyed = run === 2;
    return {
      op,
      key: runKeyOf(run, keyed),
      place: keyed ? 0 : place,
      token,
      ms: op === "nack" ? ms : op === "heartbeat" ? Math.max(ms, 0) : 0,
      result: op === "complete" || op === "fail" ? result : null,
      error: op === "fail" || op === "nack" ? error : "",
    };
  });

function groupsOf(items: readonly SettleItem[]): Buffer {
  const command = toCommand({ kind: "settle", tenant: "acme", worker: "w", items });
  assert.ok(command.kind === "settle");
  return command.groups;
}

function textOf(reader: SettleGroupReader, from: number, to: number): string | null {
  return from < 0 ? null : reader.bytes.toString("utf8", from, to);
}

it("gives back every item, and puts neighbours of one operation, run and token together", () => {
  fc.assert(
    fc.property(fc.array(item, { maxLength: 30 }), (items) => {
      const reader = new SettleGroupReader(groupsOf(items));
      let at = 0;
      let before = "";
      while (reader.nextGroup()) {
        const group = `${reader.op} ${reader.key} ${reader.token}`;
        assert.notEqual(group, before);
        before = group;
        for (let i = 0; i < reader.count; i++) {
          const want = items[at++] as SettleItem;
          reader.nextItem();
          assert.equal(reader.op, settleOps[want.op]);
          assert.equal(reader.key, want.key);
          assert.equal(reader.place, want.place);
          assert.equal(reader.token, want.token);
          if (want.op === "nack" || want.op === "heartbeat") assert.equal(reader.ms, want.ms);
          assert.equal(textOf(reader, reader.resultFrom, reader.resultTo), want.result);
          const error = textOf(reader, reader.errorFrom, reader.errorTo);
          assert.equal(error, want.op === "fail" || want.op === "nack" ? want.error : null);
        }
      }
      assert.equal(at, items.length);
    }),
  );
});

it("starts another group after 256 items: the place in a result row is one byte", () => {
  const items: SettleItem[] = [];
  for (let i = 0; i < 600; i++) {
    const named = { key: runKeyOf(1, false), place: i % 256, token: 5 };
    items.push({ ...named, op: "complete", ms: 0, result: null, error: "" });
  }
  const reader = new SettleGroupReader(groupsOf(items));
  const counts: number[] = [];
  while (reader.nextGroup()) counts.push(reader.count);
  assert.deepEqual(counts, [256, 256, 88]);
});

it("reads any item of a result row", () => {
  const writer = new SettleGroupWriter();
  for (let place = 0; place < 5; place++) {
    const id = taskIdOf({ key: runKeyOf(1, false), place });
    const result = place === 2 ? null : Buffer.from(`result ${place}`);
    writer.fail(id, 0, 7, Buffer.from(`error ${place}`), result);
  }
  const reader = new SettleGroupReader(writer.finish());
  assert.ok(reader.nextGroup());
  const row = reader.resultRow();
  for (let index = 0; index < 5; index++) {
    const { op, result, error } = readResultRow(row, index);
    assert.equal(op, settleOps.fail);
    assert.equal(result?.toString() ?? null, index === 2 ? null : `result ${index}`);
    assert.equal(error?.toString(), `error ${index}`);
  }
  assert.throws(() => readResultRow(row, 5), DecodeError);
});

it("refuses groups that were cut short anywhere", () => {
  const named = { key: runKeyOf(1, false), place: 1, token: 300 };
  const groups = groupsOf([
    { ...named, op: "fail", ms: 0, result: "r".repeat(9), error: "e".repeat(9) },
    { ...named, op: "nack", ms: 5, result: null, error: "e".repeat(9) },
  ]);
  const read = (bytes: Buffer) => {
    const reader = new SettleGroupReader(bytes);
    let items = 0;
    while (reader.nextGroup()) {
      for (let i = 0; i < reader.count; i++, items++) reader.nextItem();
    }
    return items;
  };
  assert.equal(read(groups), 2);
  let whole = 0;
  for (let size = 1; size < groups.length; size++) {
    try {
      // A cut between two groups is one that the command's count tells.
      assert.equal(read(groups.subarray(0, size)), 1);
      whole++;
    } catch (error) {
      assert.ok(error instanceof DecodeError, `${size} bytes: ${error}`);
    }
  }
  assert.equal(whole, 1);
});

it("refuses an item whose text would go on into the next group", () => {
  const named = { key: runKeyOf(1, false), place: 1, token: 3, ms: 0, error: "" };
  const groups = groupsOf([
    { ...named, op: "complete", result: "ab" },
    { ...named, op: "abandon", result: null },
  ]);
  const at = groups.indexOf("ab") - 1;
  groups[at] = 6;
  const reader = new SettleGroupReader(groups);
  assert.ok(reader.nextGroup());
  assert.throws(() => reader.nextItem(), DecodeError);
});
