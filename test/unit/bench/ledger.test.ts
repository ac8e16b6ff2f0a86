import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Ledger } from "../../../bench/load/ledger.ts";
import { LatencyHistogram } from "../../../bench/measure/histogram.ts";

function createLedger(existing = 0) {
  const endToEnd = new LatencyHistogram();
  return { ledger: new Ledger(endToEnd, existing), endToEnd };
}

describe("ledger", () => {
  test("numbers tasks in the order in which they are sent", () => {
    const { ledger } = createLedger();
    assert.equal(ledger.send(128, 0), 0);
    assert.equal(ledger.send(1, 0), 128);
    assert.equal(ledger.sent, 129);
  });

  test("counts a cycle once both acks are there, whichever comes first", () => {
    const { ledger } = createLedger();
    ledger.send(2, 0);
    ledger.createAcked(0);
    assert.equal(ledger.cycles, 0);
    ledger.resultAcked(0, 0);
    assert.equal(ledger.cycles, 1);
    ledger.resultAcked(1, 0);
    assert.equal(ledger.cycles, 1);
    ledger.createAcked(1);
    assert.equal(ledger.cycles, 2);
  });

  test("counts no ack twice and tells the second result", () => {
    const { ledger } = createLedger();
    ledger.send(1, 0);
    for (let i = 0; i < 3; i++) ledger.createAcked(0);
    for (let i = 0; i < 3; i++) ledger.resultAcked(0, 0);
    const { created, completed, cycles, completedTwice } = ledger.counts();
    assert.deepEqual([created, completed, cycles, completedTwice], [1, 1, 1, 1]);
  });

  test("tells tasks delivered twice, once each", () => {
    const { ledger } = createLedger();
    ledger.send(2, 0);
    ledger.delivered(0);
    assert.equal(ledger.redelivered, 0);
    for (let i = 0; i < 3; i++) ledger.delivered(0);
    assert.equal(ledger.redelivered, 1);
  });

  test("tells deliveries of tasks that nobody sent", () => {
    const { ledger } = createLedger();
    ledger.send(1, 0);
    ledger.delivered(1);
    ledger.delivered(-1);
    assert.equal(ledger.unknown, 2);
  });

  test("names tasks that were created and not completed", () => {
    const { ledger } = createLedger();
    ledger.send(5, 0);
    for (const task of [0, 1, 3, 4]) ledger.createAcked(task);
    ledger.resultAcked(1, 0);
    assert.deepEqual(ledger.unfinished(10), [0, 3, 4]);
    assert.deepEqual(ledger.unfinished(2), [0, 3]);
  });

  test("measures from the send to the ack of the result, over the clock's end", () => {
    const { ledger, endToEnd } = createLedger();
    ledger.send(1, 2 ** 32 - 20);
    ledger.resultAcked(0, 30);
    assert.equal(endToEnd.quantile(1), 50);
  });

  test("takes the tasks of an earlier run as created", () => {
    const { ledger } = createLedger(70_000);
    assert.equal(ledger.send(1, 0), 70_000);
    ledger.resultAcked(69_999, 0);
    assert.deepEqual([ledger.created, ledger.cycles, ledger.pending], [70_000, 1, 70_000]);
  });
});
