/** The task records of runs: from memory where they are, else from the store. They never change. */
import { limits } from "../base/limits.ts";
import { keyBytes, prefixes } from "../queue/keys.ts";
import type { Run } from "../queue/run.ts";
import type { State } from "../queue/state.ts";
import type { Kv } from "../storage/kv.ts";
import { PayloadCache } from "./payload-cache.ts";

export class Records {
  readonly cache = new PayloadCache(limits.payloadCacheBytes);
  private readonly state: State;
  private readonly kv: Kv;

  constructor(state: State, kv: Kv) {
    this.state = state;
    this.kv = kv;
  }

  /** Undefined if they must be read from the store. */
  inMemory(run: Run): Buffer | undefined {
    if (run.inlineRecords) return run.inlineRecords;
    const unsaved = this.state.overlay.get(prefixes.payload + run.key);
    if (!unsaved) return this.cache.get(run.key);
    return Buffer.from(unsaved.buffer, unsaved.byteOffset, unsaved.length);
  }

  /** Undefined if the run is gone. @param runKey - of a run whose records are not in memory */
  async read(runKey: string): Promise<Buffer | undefined> {
    const records = await this.kv.get(keyBytes(prefixes.payload + runKey));
    if (records) this.cache.put(runKey, records);
    return records;
  }
}
