import assert from "node:assert/strict";
import { test } from "node:test";
import { toLogIndex, toTerm } from "../../../src/base/brand.ts";
import { State } from "../../../src/queue/state.ts";
import type { EntryType } from "../../../src/raft/types.ts";
import { EntryApplier } from "../../../src/shard/applier.ts";
import type { Kv } from "../../../src/storage/kv.ts";
import { MachineClock, ProcessTime, VirtualTime } from "../../sim/clock.ts";

function entry(index: number, type: EntryType) {
  return { index: toLogIndex(index), term: toTerm(1), type, data: Buffer.alloc(0) };
}

test("a membership takes force at its entry's index: whatever saves both saves them together", async () => {
  const time = new VirtualTime();
  const life = new ProcessTime(new MachineClock(time, 0, 1));
  const seen: number[] = [];
  const applier: EntryApplier = new EntryApplier(
    {
      state: new State(true),
      kv: {} as Kv,
      clock: life,
      timers: life,
      readAhead: { dueRows: 1, readyRows: 1 },
      takeSinks: () => null,
      confChange: () => {
        // Where a checkpoint would say that it stands.
        seen.push(applier.isBetweenEntries ? applier.applied.index : -1);
      },
      mustHold: () => false,
      turnOver: () => undefined,
      fatal: assert.ifError,
    },
    { index: 1, term: 1 },
  );
  await new Promise<void>((resolve) => {
    applier.add([entry(2, "normal"), entry(3, "confChangeV2"), entry(4, "normal")], resolve);
  });
  assert.deepEqual(seen, [3]);
  assert.equal(applier.applied.index, 4);
});
