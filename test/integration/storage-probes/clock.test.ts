/** The wall clock may jump either way; the monotonic clock, by which leases run, must not. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, it } from "node:test";
import { type Child, Cleanup, firstFile, makeDirectory, startChild } from "./machine.ts";

const cleanup = new Cleanup();

afterEach(() => cleanup.run());

interface Reading {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

it("keeps the monotonic clock going while the wall clock jumps an hour on and back", async (t) => {
  const library = firstFile("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
  if (library === undefined) return t.skip("libfaketime is not installed");
  const file = join(makeDirectory(cleanup), "offset");
  writeFileSync(file, "+0\n");
  const child = startChild("clock-child.ts", [], {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  });
  cleanup.add(() => void child.process.kill("SIGKILL"));
  const start = await read(child);
  writeFileSync(file, "+3600\n");
  const later = await read(child);
  writeFileSync(file, "-600\n");
  const earlier = await read(child);
  child.process.stdin?.end();
  await child.ended;
  assertNear(later.wallMs - start.wallMs, 3_600_000);
  assertNear(earlier.wallMs - start.wallMs, -600_000);
  for (const [before, after] of [
    [start, later],
    [later, earlier],
  ] as const) {
    const passed = after.monotonicMs - before.monotonicMs;
    assert.ok(passed >= 0 && passed < 10_000, `${passed} ms`);
  }
});

async function read(child: Child): Promise<Reading> {
  const line = new Promise<string>((resolve, reject) => {
    child.lines.once("line", resolve);
    void child.ended.then(() => reject(new Error("the child ended")));
  });
  child.process.stdin?.write("now\n");
  const [wallMs = 0, monotonicMs = 0] = (await line).split(" ").map(Number);
  return { wallMs, monotonicMs };
}

/** Within ten seconds: the machine may be busy. */
function assertNear(value: number, wanted: number): void {
  assert.ok(Math.abs(value - wanted) < 10_000, `${value}, expected about ${wanted}`);
}
