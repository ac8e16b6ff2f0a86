/** The fence follows the log, and its errors are told. */
import { rejects } from "node:assert/strict";
import { describe, it } from "node:test";
import type { LogIndex, Term } from "../../../src/base/brand.ts";
import { FenceKeeper } from "../../../src/shard/fence-keeper.ts";
import { StorageError } from "../../../src/storage/kv.ts";
import { MachineClock, ProcessTime, VirtualTime } from "../../sim/clock.ts";

describe("fence keeper", () => {
  it("does not close in order after a save that failed while nobody listened", async () => {
    const time = new ProcessTime(new MachineClock(new VirtualTime(), 0, 1));
    const fence = {
      load: () => ({ term: 0 as Term, index: 0 as LogIndex }),
      save: () => Promise.reject(new StorageError("io", "fdatasync failed")),
      saveSync: () => undefined,
      closeSync: () => undefined,
    };
    const keeper = new FenceKeeper({ fence, clock: time, timers: time, fatal: () => undefined });
    const index = 7 as LogIndex;
    keeper.synced({ index, term: 1 as Term, type: "normal", data: Buffer.alloc(0) });
    await rejects(keeper.close(), { code: "io" });
  });
});
