/** Reads a whole store, so that each record's checksum is looked at. */
import type { Kv } from "../../src/storage/kv.ts";

/** Every record is checked at start, as the tables and the log of a real store are. */
export async function readAll(kv: Kv): Promise<void> {
  let gte = Buffer.alloc(0);
  const lt = Buffer.alloc(64, 0xff);
  for (;;) {
    const rows = await kv.range({ gte, lt, limit: 4096 });
    const last = rows[rows.length - 1];
    if (!last) return;
    gte = Buffer.concat([last.key, Buffer.alloc(1)]);
  }
}
