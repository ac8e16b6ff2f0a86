/**
 * The writer's promises, on a disk whose writes end only when the test says so: what is
 * acknowledged is durable, in order, and nothing is acknowledged after a failure.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { InvariantError } from "../../../src/base/assert.ts";
import type { Histogram } from "../../../src/base/effects.ts";
import { createGroupCommit, type GroupCommit } from "../../../src/storage/group-commit.ts";
import type { Kv, KvBatch } from "../../../src/storage/kv.ts";
import { code } from "../../contract/kv-suite.ts";
import { createMemoryKv } from "../../sim/memory-kv.ts";
import { VirtualDisk } from "../../sim/virtual-disk.ts";

interface World {
  readonly disk: VirtualDisk;
  readonly kv: Kv;
  readonly writer: GroupCommit;
  readonly fatal: unknown[];
  readonly observed: { readonly ops: number[]; readonly bytes: number[]; readonly secs: number[] };
  /** Ends the write in flight, then lets the writer go on. */
  completeWrite(): Promise<void>;
  readonly pending: (() => void)[];
}

async function createWorld(): Promise<World> {
  const pending: (() => void)[] = [];
  const disk = new VirtualDisk({ unit: () => 0.1, schedule: (callback) => pending.push(callback) });
  const kv = await createMemoryKv(disk, "/db", { createIfMissing: true });
  const fatal: unknown[] = [];
  const observed = { ops: [], bytes: [], secs: [] } as World["observed"];
  let nowMs = 0;
  const into = (list: number[]): Histogram => ({ observe: (value) => list.push(value) });
  const writer = createGroupCommit({
    kv,
    clock: { monotonicMs: () => (nowMs += 5), wallMs: () => 0 },
    metrics: {
      batchOps: into(observed.ops),
      batchBytes: into(observed.bytes),
      syncSeconds: into(observed.secs),
    },
    onFatal: (error) => fatal.push(error),
  });
  const completeWrite = async (): Promise<void> => {
    await turn();
    const write = pending.shift();
    assert.ok(write !== undefined, "a write is in flight");
    write();
    await turn();
  };
  return { disk, kv, writer, fatal, observed, completeWrite, pending };
}

/** Lets everything run that waits for no disk. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function putter(key: string, value = "v"): (batch: KvBatch) => void {
  return (batch) => batch.put(Buffer.from(key), Buffer.from(value));
}

const nothing = (): void => undefined;

describe("group commit", () => {
  it("puts all callers of one turn into one synced batch", async () => {
    const world = await createWorld();
    const told: string[] = [];
    for (const key of ["a", "b", "c"]) world.writer.add(putter(key), () => told.push(key));
    assert.equal(world.writer.formingOps, 3);
    assert.ok(world.writer.formingBytes > 6);
    await turn();
    assert.deepEqual([world.writer.busy, world.pending.length, told], [true, 1, []]);
    await world.completeWrite();
    assert.deepEqual(told, ["a", "b", "c"]);
    assert.deepEqual(world.observed.ops, [3]);
    assert.deepEqual(world.observed.secs, [0.005]);
    assert.equal(world.writer.busy, false);
  });

  it("acknowledges nothing before its batch is durable", async () => {
    const world = await createWorld();
    world.writer.add(putter("a"), () => {
      assert.ok(world.kv.getSync(Buffer.from("a")) !== undefined);
    });
    await turn();
    assert.equal(world.kv.getSync(Buffer.from("a")), undefined);
    await world.completeWrite();
    assert.deepEqual(world.fatal, []);
  });

  it("has one batch in flight and forms the next meanwhile", async () => {
    const world = await createWorld();
    const told: string[] = [];
    world.writer.add(putter("a"), () => told.push("a"));
    await turn();
    world.writer.add(putter("b"), () => told.push("b"));
    world.writer.add(putter("c"), () => told.push("c"));
    await turn();
    assert.equal(world.pending.length, 1);
    await world.completeWrite();
    assert.deepEqual([told, world.pending.length], [["a"], 1]);
    await world.completeWrite();
    assert.deepEqual(told, ["a", "b", "c"]);
    assert.deepEqual(world.observed.ops, [1, 2]);
  });

  it("takes what a callback adds", async () => {
    const world = await createWorld();
    const told: string[] = [];
    world.writer.add(putter("a"), () => world.writer.add(putter("b"), () => told.push("b")));
    await world.completeWrite();
    await world.completeWrite();
    assert.deepEqual(told, ["b"]);
  });

  it("keeps the order of callers that add nothing", async () => {
    const world = await createWorld();
    const told: string[] = [];
    world.writer.add(putter("a"), () => told.push("a"));
    world.writer.add(nothing, () => told.push("empty"));
    await turn();
    world.writer.add(nothing, () => told.push("empty too"));
    await turn();
    assert.deepEqual(told, []);
    await world.completeWrite();
    assert.deepEqual(told, ["a", "empty", "empty too"]);
  });

  it("drains: resolves when everything added before is durable", async () => {
    const world = await createWorld();
    await world.writer.drain();
    const told: string[] = [];
    world.writer.add(putter("a"), () => told.push("a"));
    await turn();
    world.writer.add(putter("b"), () => told.push("b"));
    const draining = world.writer.drain().then(() => told.push("drained"));
    await world.completeWrite();
    assert.deepEqual(told, ["a"]);
    await world.completeWrite();
    await draining;
    assert.deepEqual(told, ["a", "b", "drained"]);
  });

  for (const fault of ["fsync", "full"] as const) {
    it(`tells of a failed write once (${fault}), and never acknowledges again`, async () => {
      const world = await createWorld();
      const told: string[] = [];
      world.writer.add(putter("a"), () => told.push("a"));
      await turn();
      world.writer.add(putter("b"), () => told.push("b"));
      const draining = assert.rejects(world.writer.drain(), code("io"));
      if (fault === "full") world.disk.full = true;
      else world.disk.failingSyncs = 1;
      await world.completeWrite();
      world.disk.full = false;
      world.writer.add(putter("c"), () => told.push("c"));
      await turn();
      await draining;
      await assert.rejects(world.writer.drain(), code("io"));
      assert.deepEqual([told, world.fatal.length, world.pending.length], [[], 1, 0]);
      assert.ok(code("io")(world.fatal[0]));
    });
  }

  it("takes a fill that throws for fatal, and writes nothing of it", async () => {
    const world = await createWorld();
    const told: string[] = [];
    world.writer.add(putter("a"), () => told.push("a"));
    await turn();
    world.writer.add(
      (batch) => {
        batch.put(Buffer.from("half"), Buffer.from("v"));
        throw new InvariantError("half a fill");
      },
      () => told.push("half"),
    );
    await world.completeWrite();
    assert.deepEqual([told, world.pending.length, world.fatal.length], [[], 0, 1]);
    assert.equal(world.kv.getSync(Buffer.from("half")), undefined);
  });

  it("takes a callback that throws for fatal: the later ones are not called", async () => {
    const world = await createWorld();
    const told: string[] = [];
    world.writer.add(putter("a"), () => {
      throw new InvariantError("a bug");
    });
    world.writer.add(putter("b"), () => told.push("b"));
    await world.completeWrite();
    world.writer.add(putter("c"), () => told.push("c"));
    await turn();
    assert.deepEqual([told, world.pending.length, world.writer.formingOps], [[], 0, 0]);
    assert.ok(world.fatal[0] instanceof InvariantError);
  });
});
