/** A read error of a mapped table is no exception but the end of the process (FAULTS F5). */
import assert from "node:assert/strict";
import { join } from "node:path";
import { afterEach, it } from "node:test";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { Cleanup, makeDirectory, startChild } from "./machine.ts";
import { compact, writeRows } from "./rows.ts";

const cleanup = new Cleanup();

afterEach(() => cleanup.run());

it("ends by SIGBUS (exit 135 in a shell), which only a supervisor sees", async () => {
  const path = join(makeDirectory(cleanup), "db");
  const kv = await createLevelKv(path, { createIfMissing: true });
  await writeRows(kv, { from: 0, to: 3000, bytes: 500 }, 500);
  await kv.close();
  await compact(path);
  const child = startChild("sigbus-child.ts", [path]);
  cleanup.add(() => void child.process.kill("SIGKILL"));
  assert.deepEqual(await child.ended, { code: null, signal: "SIGBUS" });
  assert.deepEqual(child.output, ["cut"]);
});
