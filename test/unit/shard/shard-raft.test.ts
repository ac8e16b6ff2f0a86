import assert from "node:assert/strict";
import { test } from "node:test";
import type { Recovered } from "../../../src/shard/recovery.ts";
import type { ShardDeps, ShardOptions } from "../../../src/shard/shard-port.ts";
import { createShardRaft } from "../../../src/shard/shard-raft.ts";
import { appendTo, id, lone } from "../../raft/lab.ts";

test("a shard's election timeout grows to four times where its leader is late at times", () => {
  const { log } = lone(2, 3, [], {}, 1);
  const deps = { random: { unit: () => 0 }, logger: { debug: () => undefined } };
  const raft = createShardRaft(
    deps as unknown as ShardDeps,
    { shard: 0, storeId: id(2), electionTicks: 6 } as unknown as ShardOptions,
    { log, applied: { index: 0, term: 0 } } as unknown as Recovered,
  );
  for (const late of [1, 20, 20]) {
    for (let i = 0; i < late; i++) raft.tick();
    raft.step(appendTo(2, {}));
  }
  for (let i = 0; i < 23; i++) raft.tick();
  assert.equal(raft.role, "follower");
  raft.tick();
  assert.equal(raft.role, "pre-candidate");
});
