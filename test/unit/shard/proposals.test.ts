import assert from "node:assert/strict";
import { test } from "node:test";
import type { Term } from "../../../src/base/brand.ts";
import { toLogIndex } from "../../../src/base/brand.ts";
import type { QueueError } from "../../../src/base/errors.ts";
import { Proposals } from "../../../src/shard/proposals.ts";
import type { CommandSink } from "../../../src/shard/proposer.ts";

/** A sink, and what it was told. */
function sink(): CommandSink & { readonly told: string[] } {
  const told: string[] = [];
  return {
    told,
    done: () => told.push("done"),
    failed: ({ code }: QueueError) => told.push(code),
  };
}

const entry = (index: number, term: number) => ({
  index: toLogIndex(index),
  term: term as Term,
  type: "normal" as const,
  data: Buffer.alloc(0),
});

test("the sinks of an entry are handed over once, when it is applied", () => {
  const proposals = new Proposals();
  const one = sink();
  proposals.add(5, 2, [one]);
  assert.deepEqual(proposals.take(entry(5, 2)), [one]);
  assert.equal(proposals.take(entry(5, 2)), null);
  assert.deepEqual(one.told, []);
});

test("an entry of another leader in its place means that it has not happened", () => {
  const proposals = new Proposals();
  const one = sink();
  proposals.add(5, 2, [one]);
  assert.equal(proposals.take(entry(5, 3)), null);
  assert.deepEqual(one.told, ["no_leader"]);
});

test("so does one that this node proposes there itself when it leads again", () => {
  const proposals = new Proposals();
  const [before, now] = [sink(), sink()];
  proposals.add(5, 2, [before]);
  proposals.add(5, 4, [now]);
  assert.deepEqual([before.told, now.told], [["no_leader"], []]);
  proposals.failUpTo(2, "leadership was lost");
  assert.deepEqual(proposals.take(entry(5, 4)), [now]);
  assert.deepEqual(now.told, []);
});

test("what is given up is told that nobody knows", () => {
  const proposals = new Proposals();
  const [old, young] = [sink(), sink()];
  proposals.add(5, 2, [old]);
  proposals.add(6, 3, [young]);
  proposals.failUpTo(2, "leadership was lost");
  assert.deepEqual([old.told, young.told], [["unknown_outcome"], []]);
  proposals.failAll("the node stops");
  assert.deepEqual(young.told, ["unknown_outcome"]);
  assert.equal(proposals.size, 0);
});
