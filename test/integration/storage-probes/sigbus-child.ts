/** Opens a store, cuts its tables short while they are mapped, and reads: SIGBUS ends it. */
import { truncateSync } from "node:fs";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { all, rowKey, storeFiles } from "./rows.ts";

const [path = ""] = process.argv.slice(2);
const kv = await createLevelKv(path, { createIfMissing: false });
kv.getSync(rowKey(0));
kv.getSync(rowKey(2999));
for (const table of storeFiles(path, ".ldb")) truncateSync(table, 4096);
console.log("cut");
await kv.range(all);
console.log("still alive");
