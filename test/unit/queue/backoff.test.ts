import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { abandonBackoffMs, backoffMs } from "../../../src/queue/backoff.ts";
import { type BackoffPolicy, backoffPolicies } from "../../../src/queue/command.ts";
import { defaultSettings } from "../../../src/queue/state.ts";

function settings(backoffPolicy: BackoffPolicy, base = 5_000, cap = 900_000) {
  return { ...defaultSettings, backoffPolicy, backoffBaseMs: base, backoffMaxMs: cap };
}

const attempts = fc.integer({ min: 1, max: 1000 });
const place = fc.nat({ max: 255 });
const runKey = fc.uint8Array({ minLength: 14, maxLength: 14 });

it("is an integer from 0 to the cap, whatever the policy, and the same every time", () => {
  const ms = fc.oneof(fc.nat({ max: 10_000 }), fc.nat({ max: 2 ** 47 }));
  fc.assert(
    fc.property(
      fc.constantFrom(...backoffPolicies),
      ms,
      ms,
      runKey,
      place,
      attempts,
      (policy, base, cap, bytes, at, n) => {
        const key = Buffer.from(bytes).toString("latin1");
        const delay = backoffMs(settings(policy, base, cap), key, at, n);
        assert.ok(Number.isSafeInteger(delay) && delay >= 0 && delay <= cap, `${delay}`);
        assert.equal(backoffMs(settings(policy, base, cap), key, at, n), delay);
      },
    ),
  );
});

it("stays within its half or its whole of the exponential delay", () => {
  fc.assert(
    fc.property(place, attempts, (at, n) => {
      const whole = Math.min(5_000 * 2 ** (n - 1), 900_000);
      assert.equal(backoffMs(settings("exponential"), "k", at, n), whole);
      const equal = backoffMs(settings("exp_equal_jitter"), "k", at, n);
      assert.ok(equal >= whole / 2 && equal <= whole, `${equal} of ${whole}`);
      const full = backoffMs(settings("exp_full_jitter"), "k", at, n);
      assert.ok(full >= 0 && full <= whole, `${full} of ${whole}`);
    }),
  );
});

/** Tasks of one run differ in their place alone, runs of one process in a counter and the time. */
function sample(): number[] {
  const delays: number[] = [];
  for (let run = 0; run < 40; run++) {
    const key = Buffer.from("0190f3a2b10170005a5a5a5a5a5a", "hex");
    key[7] = run;
    for (let at = 0; at < 250; at++) {
      delays.push(backoffMs(settings("exp_full_jitter", 10_000), key.toString("latin1"), at, 1));
    }
  }
  return delays;
}

it("spreads the tasks of a run evenly over the whole delay", () => {
  const delays = sample();
  const tenths = new Array<number>(10).fill(0);
  for (const delay of delays) {
    const tenth = Math.min(9, Math.floor(delay / 1000));
    tenths[tenth] = (tenths[tenth] as number) + 1;
  }
  // 10,000 samples: 1,000 ± 30 in each tenth; five standard deviations.
  for (const count of tenths) assert.ok(Math.abs(count - 1000) < 150, tenths.join(" "));
  let alike = 0;
  for (let i = 1; i < delays.length; i++) {
    if (Math.abs((delays[i] as number) - (delays[i - 1] as number)) < 500) alike++;
  }
  // Neighbours are no more alike than strangers: a share of about 2 × 500 / 10,000.
  assert.ok(alike < 1200, `${alike} neighbours of 10,000 are within 500 ms`);
});

it("differs from attempt to attempt", () => {
  const delays = new Set<number>();
  for (let n = 1; n <= 600; n++)
    delays.add(backoffMs(settings("exp_full_jitter", 900_000), "k", 3, n));
  assert.ok(delays.size > 590, `${delays.size}`);
});

it("an abandon waits from the 11th in a row on: 10 ms, doubling up to 60 s", () => {
  const waits = Array.from({ length: 30 }, (_, i) => abandonBackoffMs(i + 1));
  assert.deepEqual(waits.slice(0, 10), new Array<number>(10).fill(0));
  assert.deepEqual(waits.slice(10, 14), [10, 20, 40, 80]);
  assert.deepEqual(waits.slice(22, 25), [40_960, 60_000, 60_000]);
  assert.equal(abandonBackoffMs(1e9), 60_000);
});
