/**
 * Checkpoints: the changed rows and the applied index that they belong to, put into one batch; and
 * the state read back from them at start. After a crash the log is replayed from the applied index.
 */
import { assert } from "../base/assert.ts";
import { ByteReader, ByteWriter, DecodeError } from "../base/bytes.ts";
import { decodeSettings, encodeSettings } from "../queue/command-codec.ts";
import { endOfPrefix, keyBytes, prefixes, u32Text } from "../queue/keys.ts";
import { encodeRun } from "../queue/run-codec.ts";
import { Queue, State } from "../queue/state.ts";
import type { Kv, KvBatch } from "../storage/kv.ts";

export const stateKey = keyBytes(`${prefixes.meta}state`);
const readRows = 4096;

/** What of the log the rows contain. */
export interface AppliedPoint {
  readonly index: number;
  readonly term: number;
}

/** Puts every change since the last checkpoint into the batch and starts the next generation. */
export function putCheckpoint(
  state: State,
  batch: KvBatch,
  applied: AppliedPoint,
  generation: number,
  scratch: ByteWriter,
): void {
  for (const [key, value] of state.overlay.freeze()) {
    if (value === null) batch.del(keyBytes(key));
    else batch.put(keyBytes(key), value);
  }
  for (const run of state.dirtyRuns) {
    run.dirty = false;
    if (run.live === 0) continue;
    run.saved = true;
    run.generation = generation;
    scratch.reset();
    encodeRun(scratch, run);
    batch.put(keyBytes(prefixes.run + run.key), scratch.buffer.subarray(0, scratch.length));
  }
  state.dirtyRuns = [];
  state.dirtyBytes = 0;
  for (const queue of state.dirtyQueues) {
    queue.dirty = false;
    batch.put(keyBytes(prefixes.queue + u32Text(queue.id)), encodeQueue(queue));
  }
  state.dirtyQueues.clear();
  for (const tenant of state.dirtyTenants) {
    tenant.dirty = false;
    const cursor = Buffer.alloc(4);
    cursor.writeUInt32BE(tenant.cursor);
    batch.put(keyBytes(prefixes.tenant + tenant.name), cursor);
  }
  state.dirtyTenants.clear();
  batch.put(stateKey, encodeStateRow(state, applied));
}

/** The row with the counters and settings, and the index that all rows belong to. */
export function encodeStateRow(state: State, applied: AppliedPoint): Buffer {
  const out = new ByteWriter(96);
  out.u64(applied.index);
  out.u64(applied.term);
  out.u48(state.counters.timeMs);
  out.u64(state.counters.nextSeq);
  out.u32(state.counters.nextQueueId);
  out.u64(state.counters.tokenOffset);
  encodeSettings(out, state.settings);
  return out.finish();
}

export function encodeQueue(queue: Queue): Buffer {
  const out = new ByteWriter(64);
  out.latin1(queue.tenant.name);
  out.latin1(queue.name);
  out.u8(queue.paused ? 1 : 0);
  for (const count of queue.ready) out.varint(count);
  out.varint(queue.delayed);
  out.varint(queue.leased);
  out.varint(queue.dead);
  out.varint(queue.ended);
  return out.finish();
}

/**
 * Reads the state back: meta, queues and cursors; the backlog stays on disk.
 * @param first - where the log of a store begins that holds no checkpoint
 */
export async function readState(
  kv: Kv,
  first: { readonly cutIndex: number; readonly cutTerm: number },
): Promise<{ state: State; applied: AppliedPoint }> {
  const meta = await kv.get(stateKey);
  const state = new State(meta === undefined);
  if (!meta) return { state, applied: { index: first.cutIndex, term: first.cutTerm } };
  const applied = decodeStateRow(state, meta);
  await forEachRow(kv, prefixes.queue, (key, value) => {
    state.provideQueue(decodeQueue(state, key.readUInt32BE(1), value));
  });
  await forEachRow(kv, prefixes.tenant, (key, value) => {
    state.tenant(key.toString("latin1", 1)).cursor = value.readUInt32BE(0);
  });
  return { state, applied };
}

/** @throws DecodeError */
export function decodeQueue(state: State, id: number, row: Buffer): Queue {
  const input = new ByteReader(row);
  const tenant = state.tenant(input.latin1());
  const queue = new Queue(id, tenant, input.latin1());
  queue.paused = input.u8() === 1;
  for (let p = 0; p < 10; p++) queue.setReady(p, input.varint());
  queue.delayed = input.varint();
  queue.leased = input.varint();
  queue.dead = input.varint();
  queue.ended = input.varint();
  if (input.left !== 0) throw new DecodeError(`queue ${id}: ${input.left} bytes left`);
  return queue;
}

/** Takes counters and settings from their row. @throws DecodeError */
export function decodeStateRow(state: State, row: Buffer): AppliedPoint {
  const input = new ByteReader(row);
  const applied = { index: input.u64(), term: input.u64() };
  state.counters.timeMs = input.u48();
  state.counters.nextSeq = input.u64();
  state.counters.nextQueueId = input.u32();
  state.counters.tokenOffset = input.u64();
  state.settings = decodeSettings(input);
  return applied;
}

export async function forEachRow(
  kv: Kv,
  prefix: string,
  visit: (key: Buffer, value: Buffer) => void,
): Promise<void> {
  let gte = keyBytes(prefix);
  const lt = keyBytes(endOfPrefix(prefix));
  for (;;) {
    const rows = await kv.range({ gte, lt, limit: readRows });
    for (const row of rows) visit(row.key, row.value);
    const last = rows[rows.length - 1];
    if (!last || rows.length < readRows) return;
    gte = Buffer.concat([last.key, Buffer.alloc(1)]);
  }
}

/** Gives up clean runs, oldest first, until they take less than `bytesMax`. */
export function evictRuns(state: State, bytesMax: number, durableGeneration: number): void {
  // Each is looked at once: dirty and unsaved runs go to the end of the line. One iterator for all,
  // because a new one walks over the holes of all that was deleted before it.
  let looks = state.runs.size;
  for (const [key, run] of state.runs) {
    if (state.runBytes <= bytesMax || looks-- === 0) return;
    state.runs.delete(key);
    if (run.dirty || run.generation > durableGeneration) {
      state.runs.set(key, run);
    } else {
      assert(run.saved, "an evicted run is in the store", key.length);
      state.runBytes -= run.memoryBytes;
    }
  }
}
