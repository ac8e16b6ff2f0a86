import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import type { WaitList } from "../../../src/router/wait-list.ts";
import { WaitLists } from "../../../src/router/wait-lists.ts";

interface Claim {
  state: string;
  readonly order: number;
  readonly request: { readonly tenant: string; readonly queues: readonly string[] | null };
  lists: WaitList<Claim>[];
}

let made = 0;
const claim = (queues: readonly string[] | null, tenant = "t"): Claim => ({
  state: "waiting",
  order: made++,
  request: { tenant, queues },
  lists: [],
});

function remove(lists: WaitLists<Claim>, one: Claim): void {
  one.state = "over";
  lists.remove(one);
}

test("the first that waits for a queue, or for any, is found", () => {
  const lists = new WaitLists<Claim>();
  const [a, any, b, other] = [claim(["x", "y"]), claim(null), claim(["y"]), claim(["y"], "u")];
  for (const one of [a, any, b, other]) lists.add(one);
  assert.equal(lists.first("t", "y", false), a);
  assert.equal(lists.first("t", "z", false), any);
  remove(lists, a);
  assert.equal(lists.first("t", "y", false), any);
  remove(lists, any);
  assert.equal(lists.first("t", "y", false), b);
  assert.equal(lists.first("t", "x", false), undefined);
  assert.equal(lists.first("u", "y", false), other);
  const late = claim(null, "u");
  lists.add(late);
  assert.equal(lists.first("u", "z", false), late);
  assert.equal(lists.first("u", "z", true), undefined);
  remove(lists, late);
  assert.equal(lists.count, 2);
  for (const one of lists.drained()) remove(lists, one);
  assert.equal(lists.count, 0);
});

test("claims that name ever new queues find no room after some time, others do", () => {
  const lists = new WaitLists<Claim>();
  const names = (i: number) => Array.from({ length: 256 }, (_, j) => `q-${i}-${j}`);
  const waiting: Claim[] = [];
  for (let i = 0; lists.hasRoom(claim(names(i))); i++) {
    waiting.push(claim(names(i)));
    lists.add(waiting[i] as Claim);
  }
  assert.equal(waiting.length, Math.floor(limits.waitingQueues / 256));
  assert.ok(lists.hasRoom(claim(null)));
  assert.ok(lists.hasRoom(claim(["one"])));
  for (const one of waiting) remove(lists, one);
  assert.ok(lists.hasRoom(claim(names(0))));
});

test("claims of the same queues find room until the places are used up", () => {
  const lists = new WaitLists<Claim>();
  const names = Array.from({ length: 256 }, (_, j) => `q-${j}`);
  let count = 0;
  for (; lists.hasRoom(claim(names)); count++) lists.add(claim(names));
  assert.equal(count, Math.floor(limits.waitingPlaces / 256));
});
