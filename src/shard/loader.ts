/**
 * Brings what a command needs from the store into the state. Called between two commands, never
 * while one is applied; nothing else changes the state meanwhile. A checkpoint may become durable in
 * between: the overlay is held (Overlay.hold), so that no row is missed or comes back.
 */
import type { DueIndex } from "../queue/due-index.ts";
import { keyBytes, prefixes } from "../queue/keys.ts";
import type { Need } from "../queue/needs.ts";
import type { ReadyList } from "../queue/ready-list.ts";
import type { State } from "../queue/state.ts";
import type { Kv } from "../storage/kv.ts";

/** How much one look at the store brings in. */
export interface ReadAhead {
  readonly readyRows: number;
  readonly dueRows: number;
}

export const defaultReadAhead: ReadAhead = { readyRows: 512, dueRows: 2048 };

/** Up to this many runs are read synchronously: about 3 µs each, no turn of the event loop. */
const syncRuns = 64;

/** Loads everything named. Returns a promise only where the store must be waited for. */
export function loadNeeds(
  state: State,
  kv: Kv,
  needs: readonly Need[],
  readAhead: ReadAhead,
): Promise<void> | null {
  if (needs.length <= syncRuns && needs.every((need) => need.kind === "run")) {
    for (const need of needs) {
      if (need.kind === "run") state.provideRun(need.key, kv.getSync(runKey(need.key)));
    }
    return null;
  }
  return loadAll(state, kv, needs, readAhead);
}

function runKey(key: string): Buffer {
  return keyBytes(prefixes.run + key);
}

async function loadAll(
  state: State,
  kv: Kv,
  needs: readonly Need[],
  readAhead: ReadAhead,
): Promise<void> {
  const runs: string[] = [];
  for (const need of needs) {
    switch (need.kind) {
      case "run":
        runs.push(need.key);
        break;
      case "ready":
        await loadReady(state, kv, need.list, readAhead.readyRows);
        break;
      case "due":
        await loadDue(state, kv, need.index, readAhead.dueRows);
        break;
      case "row":
        state.loadedRows.set(need.key, await kv.get(keyBytes(need.key)));
        break;
      case "range": {
        const { gte, lt, limit } = need;
        const rows = await kv.range({ gte: keyBytes(gte), lt: keyBytes(lt), limit });
        state.loadedRanges.set(
          gte,
          rows.map((row) => row.key.toString("latin1")),
        );
        break;
      }
    }
  }
  if (runs.length === 0) return;
  const rows = await kv.getMany(runs.map(runKey));
  for (let i = 0; i < runs.length; i++) state.provideRun(runs[i] as string, rows[i]);
}

async function loadReady(state: State, kv: Kv, list: ReadyList, limit: number): Promise<void> {
  const rows = await kv.range({ ...list.restRange(), limit });
  list.load(
    state.overlay,
    rows.map((row) => ({ key: row.key.toString("latin1"), value: row.value })),
    rows.length < limit,
  );
}

export async function loadDue(state: State, kv: Kv, index: DueIndex, limit: number): Promise<void> {
  const rows = await kv.range({ ...index.restRange(), limit });
  index.load(
    state.overlay,
    rows.map((row) => row.key.toString("latin1")),
    rows.length < limit,
  );
}
