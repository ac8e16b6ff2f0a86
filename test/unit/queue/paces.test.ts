import assert from "node:assert/strict";
import { test } from "node:test";
import { Paces } from "../../../src/queue/paces.ts";

test("a steady pace is told per second, and fades when it ends", () => {
  const paces = new Paces();
  let now = 1_700_000_000_000;
  for (let second = 0; second < 100; second++, now += 1000) {
    paces.addCreated(7, 50, now);
    if (second % 2 === 0) paces.addSettled(7, 20, now);
  }
  const { createdPerSecond, settledPerSecond } = paces.of(7, now);
  assert.ok(Math.abs(createdPerSecond - 50) < 3, `${createdPerSecond}`);
  assert.ok(Math.abs(settledPerSecond - 10) < 1.5, `${settledPerSecond}`);
  const later = paces.of(7, now + 10_000);
  assert.ok(Math.abs(later.createdPerSecond - createdPerSecond / Math.E) < 0.1);
  assert.deepEqual(paces.of(7, now + 1e6), { createdPerSecond: 0, settledPerSecond: 0 });
});

test("queues do not share their paces, however far apart their ids are", () => {
  const paces = new Paces();
  const ids = [1, 2, 511, 512, 513, 1_000_000];
  for (const [i, id] of ids.entries()) paces.addCreated(id, (i + 1) * 10, 5);
  for (const [i, id] of ids.entries()) assert.equal(paces.of(id, 5).createdPerSecond, i + 1);
  assert.deepEqual(paces.of(3, 5), { createdPerSecond: 0, settledPerSecond: 0 });
  assert.deepEqual(paces.of(999, 5), { createdPerSecond: 0, settledPerSecond: 0 });
});

test("time that goes back loses nothing", () => {
  const paces = new Paces();
  paces.addCreated(1, 10, 1000);
  paces.addCreated(1, 10, 500);
  assert.equal(paces.of(1, 1000).createdPerSecond, 2);
});
