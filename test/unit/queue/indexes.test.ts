import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DueIndex } from "../../../src/queue/due-index.ts";
import { prefixes, readU64, u48Text } from "../../../src/queue/keys.ts";
import { Overlay } from "../../../src/queue/overlay.ts";
import { ReadyList, ReadyWindows } from "../../../src/queue/ready-list.ts";
import { Queue, State, Tenant } from "../../../src/queue/state.ts";

/** Saves the overlay into a Map, as a checkpoint does. */
function save(overlay: Overlay, store: Map<string, Uint8Array>): void {
  for (const [key, value] of overlay.freeze()) {
    if (value === null) store.delete(key);
    else store.set(key, value);
  }
  overlay.thaw();
}

function readRange(store: ReadonlyMap<string, Uint8Array>, range: { gte: Buffer; lt: Buffer }) {
  const gte = range.gte.toString("latin1");
  const lt = range.lt.toString("latin1");
  return [...store]
    .filter(([key]) => key >= gte && key < lt)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({ key, value }));
}

/** The front of the list, loaded row by row where the window ends. */
function front(list: ReadyList, overlay: Overlay, store: Map<string, Uint8Array>, rows: number) {
  const seqs: number[] = [];
  for (let i = 0; ; ) {
    const segment = list.at(i);
    if (segment) {
      if (!segment.gone) seqs.push(segment.seq);
      i++;
    } else if (list.complete) {
      return seqs;
    } else {
      const found = readRange(store, list.restRange());
      list.load(overlay, found.slice(0, rows), found.length < rows);
    }
  }
}

const queueOf = (id: number): Queue => new Queue(id, new Tenant("t"), `q${id}`);

const listStep = fc.record({
  kind: fc.constantFrom("append", "append", "append", "remove", "save", "reopen", "look"),
  n: fc.nat({ max: 1000 }),
});

describe("ready list", () => {
  it("gives all rows in order, wherever they are and however few are read at once", () => {
    const rows = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(fc.array(listStep, { maxLength: 60, size: "max" }), rows, (all, readRows) => {
        const store = new Map<string, Uint8Array>();
        const overlay = new Overlay();
        const windows = new ReadyWindows();
        let list = new ReadyList(queueOf(3), 5, windows, true);
        let wanted: number[] = [];
        let seq = 0;
        for (const { kind, n } of all) {
          if (kind === "append") {
            list.append(overlay, ++seq, "r".repeat(14), n);
            wanted.push(seq);
          } else if (kind === "remove" && wanted.length > 0) {
            const gone = wanted[n % wanted.length] as number;
            list.remove(overlay, gone);
            wanted = wanted.filter((one) => one !== gone);
          } else if (kind === "save") {
            save(overlay, store);
          } else if (kind === "reopen") {
            save(overlay, store);
            list = new ReadyList(queueOf(3), 5, windows, wanted.length === 0);
          } else if (kind === "look") {
            assert.deepEqual(front(list, overlay, store, readRows), wanted);
          }
        }
        assert.deepEqual(front(list, overlay, store, readRows), wanted);
      }),
      { numRuns: 300 },
    );
  });

  it("keeps a bounded window of a deep backlog, and goes on behind it", () => {
    const store = new Map<string, Uint8Array>();
    const overlay = new Overlay();
    const windows = new ReadyWindows();
    const list = new ReadyList(queueOf(1), 0, windows, true);
    const empty = windows.rows;
    for (let seq = 1; seq <= 5000; seq++) {
      list.append(overlay, seq, "r".repeat(14), 0);
      if (seq % 1000 === 0) save(overlay, store);
    }
    assert.equal(windows.rows, empty + 2048);
    assert.equal(list.complete, false);
    for (let seq = 1; seq <= 5000; seq++) {
      if (!list.at(0)) {
        const found = readRange(store, list.restRange());
        list.load(overlay, found.slice(0, 512), found.length < 512);
      }
      assert.equal(list.at(0)?.seq, seq);
      list.remove(overlay, seq);
      assert.ok(windows.rows <= empty + 2048);
    }
    save(overlay, store);
    assert.deepEqual([windows.rows, store.size], [empty, 0]);
  });

  it("many deep lists share a budget", () => {
    const overlay = new Overlay();
    const windows = new ReadyWindows();
    for (let queue = 1; queue <= 120; queue++) {
      const list = new ReadyList(queueOf(queue), 0, windows, true);
      for (let seq = 1; seq <= 1000; seq++) list.append(overlay, seq, "r", 0);
    }
    assert.ok(windows.rows <= 100_000 + 1500 + 20 * 16, `${windows.rows} rows`);
  });

  it("lists that were not used lately are forgotten, and are whole when they come back", () => {
    const state = new State(true);
    const queues = Array.from({ length: 100 }, (_, i) => state.addQueue("t", `q${i}`));
    const store = new Map<string, Uint8Array>();
    let seq = 0;
    const append = (queue: Queue, priority: number): void => {
      const { overlay } = state;
      state.list(queue, priority).append(overlay, ++seq, "r".repeat(14), queue.id - 1);
      queue.setReady(priority, (queue.ready[priority] as number) + 1);
    };
    for (const queue of queues) for (const p of [0, 9, 0, 5]) append(queue, p);
    const { windows } = state;
    const all = windows.rows;
    windows.evict(all);
    assert.equal(windows.rows, all);
    windows.evict(all / 2);
    assert.ok(windows.rows <= all / 2 && windows.rows > all / 2 - 10, `${windows.rows} rows`);
    const [first] = queues as [Queue];
    assert.equal(first.lists, null);
    windows.evict(0);
    assert.equal(windows.rows, 0);
    save(state.overlay, store);
    for (const [i, queue] of queues.entries()) {
      assert.equal(queue.lists, null);
      assert.ok(queue.packed.length > 0 && queue.packed.length < 80);
      const known = [0, 5, 9].map((p) => queue.oldestReady(p)).filter((of) => of !== undefined);
      assert.deepEqual(known, [i]);
      append(queue, 9);
      for (const [p, count] of [
        [0, 2],
        [5, 1],
        [9, 2],
      ] as const) {
        const seqs = front(state.list(queue, p), state.overlay, store, 2);
        assert.equal(seqs.length, count);
      }
      assert.equal(state.list(queue, 1).complete, true);
    }
  });

  it("a list that was used since it was looked at last outlives the others", () => {
    const state = new State(true);
    const queues = Array.from({ length: 20 }, (_, i) => state.addQueue("t", `q${i}`));
    for (const queue of queues) state.list(queue, 0);
    const { windows } = state;
    windows.evict(windows.rows - 1);
    const [, second, third] = queues as [Queue, Queue, Queue];
    state.list(third, 0);
    windows.evict(windows.rows - 5);
    assert.equal(second.listOf(0), null);
    assert.notEqual(third.listOf(0), null);
  });
});

const dueStep = fc.record({
  kind: fc.constantFrom("add", "add", "add", "remove", "save", "reopen", "look"),
  due: fc.nat({ max: 12 }),
  run: fc.nat({ max: 6 }),
});

describe("due index", () => {
  it("gives rows in the order of their time and run, wherever they are", () => {
    const rows = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(fc.array(dueStep, { maxLength: 60, size: "max" }), rows, (all, readRows) => {
        const store = new Map<string, Uint8Array>();
        const overlay = new Overlay();
        let index = new DueIndex(prefixes.due, true);
        const wanted = new Set<string>();
        const look = () => {
          const found: string[] = [];
          for (let i = 0; ; ) {
            const node = index.at(i);
            if (node) {
              found.push(u48Text(node.due) + node.runKey);
              i++;
            } else if (index.mayHoldBefore(100)) {
              const range = readRange(store, index.restRange()).map(({ key }) => key);
              index.load(overlay, range.slice(0, readRows), range.length < readRows);
            } else {
              break;
            }
          }
          assert.deepEqual(found, [...wanted].sort());
        };
        for (const { kind, due, run } of all) {
          const runKey = `${run}`.padStart(14, "r");
          const key = u48Text(due) + runKey;
          if (kind === "add" && !wanted.has(key)) {
            wanted.add(key);
            index.add(overlay, due, runKey);
          } else if (kind === "remove" && wanted.delete(key)) {
            index.remove(overlay, due, runKey);
          } else if (kind === "save") {
            save(overlay, store);
          } else if (kind === "reopen") {
            save(overlay, store);
            index = new DueIndex(prefixes.due, false);
          } else if (kind === "look") {
            look();
            assert.equal(index.nextDue(), firstDue(wanted));
          }
        }
        look();
      }),
      { numRuns: 300 },
    );
  });

  it("gives the later half back when it holds too much, and finds it again", () => {
    const store = new Map<string, Uint8Array>();
    const overlay = new Overlay();
    const index = new DueIndex(prefixes.due, true);
    const count = 70_000;
    // Latest first, so that what is given back came early.
    for (let due = count; due >= 1; due--) index.add(overlay, due, "r".repeat(14));
    save(overlay, store);
    assert.ok(index.size < 66_000, `${index.size} rows`);
    assert.equal(index.complete, false);
    // One more in the window and one behind it, of another run.
    const late = [20_000, 60_000];
    for (const due of late) index.add(overlay, due, "s".repeat(14));
    let seen = 0;
    const take = (due: number, runKey: string) => {
      if (!index.at(0)) {
        assert.ok(index.mayHoldBefore(count));
        const keys = readRange(store, index.restRange()).map(({ key }) => key);
        index.load(overlay, keys, true);
      }
      assert.equal(index.at(0)?.due, due);
      assert.equal(index.at(0)?.runKey, runKey);
      index.remove(overlay, due, runKey);
      seen++;
    };
    for (let due = 1; due <= count; due++) {
      take(due, "r".repeat(14));
      if (late.includes(due)) take(due, "s".repeat(14));
    }
    assert.equal(seen, count + late.length);
    assert.equal(index.nextDue(), Number.POSITIVE_INFINITY);
  });
});

function firstDue(wanted: ReadonlySet<string>): number {
  const [first] = [...wanted].sort();
  return first === undefined ? Number.POSITIVE_INFINITY : readU64(`\0\0${first}`, 0);
}

const overlayStep = fc.record({
  kind: fc.constantFrom(
    "put",
    "put",
    "replace",
    "remove",
    "remove",
    "freeze",
    "land",
    "hold",
    "release",
  ),
  key: fc.constantFrom("a", "b", "c"),
});

describe("overlay", () => {
  it("with the store beneath it shows every change, before, during and after a checkpoint", () => {
    fc.assert(
      fc.property(fc.array(overlayStep, { maxLength: 60, size: "max" }), (all) => {
        const overlay = new Overlay();
        const store = new Map<string, string>();
        const wanted = new Map<string, string>();
        let batch: [string, Uint8Array | null][] | null = null;
        let n = 0;
        const land = () => {
          for (const [key, value] of batch ?? []) {
            if (value === null) store.delete(key);
            else store.set(key, Buffer.from(value).toString());
          }
          if (batch) overlay.thaw();
          batch = null;
        };
        for (const { kind, key } of all) {
          const value = `${++n}`;
          if (kind === "put" && !wanted.has(key)) {
            overlay.put(key, Buffer.from(value));
            wanted.set(key, value);
          } else if (kind === "replace") {
            overlay.replace(key, Buffer.from(value));
            wanted.set(key, value);
          } else if (kind === "remove" && wanted.delete(key)) {
            overlay.remove(key);
          } else if (kind === "freeze") {
            land();
            batch = [...overlay.freeze()];
          } else if (kind === "land") {
            land();
          } else if (kind === "hold") {
            overlay.hold();
          } else if (kind === "release") {
            overlay.release();
          }
          const ranged = new Map(store);
          overlay.forRange("a", "d", (changed, row) => {
            if (row === null) ranged.delete(changed);
            else ranged.set(changed, Buffer.from(row).toString());
          });
          for (const one of ["a", "b", "c"]) {
            const change = overlay.get(one);
            const shown =
              change === undefined ? store.get(one) : change && Buffer.from(change).toString();
            assert.equal(shown ?? undefined, wanted.get(one));
            assert.equal(ranged.get(one), wanted.get(one));
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("shows while it is held what a checkpoint has written meanwhile", () => {
    const overlay = new Overlay();
    overlay.put("k", Buffer.from("v"));
    overlay.freeze();
    overlay.hold();
    overlay.thaw();
    assert.equal(Buffer.from(overlay.get("k") ?? []).toString(), "v");
    overlay.release();
    assert.equal(overlay.get("k"), undefined);
  });

  it("a row that came and went between two checkpoints is never written", () => {
    const overlay = new Overlay();
    overlay.put("k", Buffer.from("v"));
    overlay.remove("k");
    assert.deepEqual([...overlay.freeze()], []);
    assert.equal(overlay.bytes, 0);
  });

  it("takes one checkpoint at a time", () => {
    const overlay = new Overlay();
    overlay.freeze();
    assert.throws(() => overlay.freeze(), /one checkpoint at a time/);
  });
});
