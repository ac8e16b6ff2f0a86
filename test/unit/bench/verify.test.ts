import assert from "node:assert/strict";
import { test } from "node:test";
import type { LoadOutcome } from "../../../bench/load-process.ts";
import { ledgerProblems } from "../../../bench/verify.ts";

const none = { count: 0, p50Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 };
const good = {
  sent: 10,
  created: 10,
  completed: 10,
  cycles: 10,
  redelivered: 0,
  completedTwice: 0,
  unknown: 0,
};

interface Run {
  readonly counts?: Partial<typeof good>;
  readonly unfinished?: readonly number[];
  readonly longestGapMs?: number;
  readonly refusals?: LoadOutcome["refusals"];
}

function problemsOf({
  counts = {},
  unfinished = [],
  longestGapMs = 100,
  refusals = [],
}: Run): string[] {
  const usage = { cpuMs: 0, rssMax: 0, mappedMax: 0, longestGapMs };
  const outcome: LoadOutcome = {
    cyclesPerSecond: [],
    createAck: none,
    endToEnd: none,
    counts: { ...good, ...counts },
    unfinished,
    samples: [],
    perShard: [],
    refusals,
    server: usage,
    load: usage,
    elapsedMs: 0,
  };
  return ledgerProblems(outcome);
}

test("a run in which every task was made and completed once has no problems", () => {
  assert.deepEqual(problemsOf({}), []);
});

test("a lost task is named", () => {
  const [problem] = problemsOf({ counts: { completed: 9, cycles: 9 }, unfinished: [4] });
  assert.match(problem ?? "", /^1 tasks were created and never completed: 4/);
});

for (const [counts, problem] of [
  [{ sent: 11 }, /1 creates were never acknowledged/],
  [{ completed: 11 }, /1 results without a create/],
  [{ completedTwice: 1 }, /1 tasks were completed twice/],
  [{ redelivered: 2 }, /2 tasks were delivered twice/],
  [{ unknown: 3 }, /3 deliveries of tasks that nobody sent/],
] as const) {
  test(`${Object.keys(counts).join()} makes a run invalid`, () => {
    assert.match(problemsOf({ counts }).join(), problem);
  });
}

test("a run during which the machine stood still is invalid", () => {
  assert.match(problemsOf({ longestGapMs: 15_000 }).join(), /stood still for 15000 ms/);
});

test("an ack that is not ok makes a run invalid, with its reason", () => {
  const refusals = [{ reason: "create overloaded: full", times: 3 }];
  assert.deepEqual(problemsOf({ refusals }), ["3 times create overloaded: full"]);
});
