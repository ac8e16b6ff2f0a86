/**
 * What a failed write must lead to: no acknowledgement any more, by anybody, and after a restart
 * everything that was acknowledged (FAULTS F2, F4; power cut by the ioctl that stops a filesystem).
 */
import assert from "node:assert/strict";
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { createLevelKv } from "../../../src/storage/level-kv.ts";
import { createNodeFiles } from "../../../src/storage/node-files.ts";
import { checkStoreLog } from "../../../src/storage/store-log.ts";
import {
  type Child,
  Cleanup,
  firstFile,
  lineOf,
  makeDirectory,
  mount,
  run,
  startChild,
} from "./machine.ts";
import { all, checkRows } from "./rows.ts";

const cleanup = new Cleanup();
const bytes = 1000;

afterEach(() => cleanup.run());

function startWriter(path: string, rows: number, env: Record<string, string> = {}): Child {
  const child = startChild("writer-child.ts", [path, String(rows), String(bytes)], env);
  cleanup.add(() => void child.process.kill("SIGKILL"));
  return child;
}

/** Rows that the child was told are durable; none of them after its failure. */
function ackedOf(child: Child): Set<number> {
  const fatal = child.output.findIndex((line) => line.startsWith("fatal"));
  assert.ok(fatal >= 0, "the child failed");
  assert.equal(child.output[fatal], "fatal io");
  assert.deepEqual(child.output.slice(fatal + 1), ["late acks 0, fatals 1, refused"]);
  return new Set(child.output.slice(0, fatal).map((line) => Number(line.split(" ")[1])));
}

/** After a restart: all of `asked`, by default all that was acknowledged, and at most the one write that failed. */
async function checkAfter(
  path: string,
  acked: ReadonlySet<number>,
  asked: Iterable<number> = acked,
): Promise<void> {
  const kv = await createLevelKv(path, { createIfMissing: false });
  checkStoreLog(createNodeFiles(), path);
  const found = checkRows(await kv.range(all), bytes);
  await kv.close();
  for (const i of asked) assert.ok(found.has(i), `row ${i} was acknowledged and is lost`);
  assert.ok(found.size <= acked.size + 1, `${found.size} rows, ${acked.size} acknowledged`);
}

describe("write errors", () => {
  it("ENOSPC: the first error is the last write", async (t) => {
    const target = join(makeDirectory(cleanup), "full");
    if (!mount(cleanup, target, "-t", "tmpfs", "-o", "size=3m", "none")) {
      return t.skip("cannot mount a tmpfs here");
    }
    const child = startWriter(join(target, "db"), 100_000);
    await lineOf(child, /^acked 200$/);
    fill(join(target, "filler"));
    assert.deepEqual(await child.ended, { code: 74, signal: null });
    const acked = ackedOf(child);
    assert.ok(acked.size > 200);
    rmSync(join(target, "filler"));
    await checkAfter(join(target, "db"), acked);
  });

  it("fsync: after the first failed one nothing is acknowledged", async (t) => {
    const preload = ["fiu_run_preload.so", "fiu_posix_preload.so"].map((name) =>
      firstFile(`/usr/lib/fiu/${name}`, `/usr/lib/x86_64-linux-gnu/fiu/${name}`),
    );
    if (preload.includes(undefined)) return t.skip("libfiu (fiu-utils, libfiu0) is not installed");
    const directory = makeDirectory(cleanup);
    const path = join(directory, "db");
    const control = join(directory, "fiu");
    const child = startWriter(path, 100_000, {
      LD_PRELOAD: preload.join(" "),
      FIU_CTRL_FIFO: control,
    });
    await lineOf(child, /^acked 100$/);
    const fault = "enable name=posix/io/sync/fdatasync,failinfo=5";
    assert.ok(run("fiu-ctrl", "-f", control, "-c", fault, String(child.process.pid)));
    assert.deepEqual(await child.ended, { code: 74, signal: null });
    await checkAfter(path, ackedOf(child));
  });

  it("power cut: what was acknowledged is there, and nothing is acknowledged after it", async (t) => {
    const directory = makeDirectory(cleanup);
    const [image, target] = [join(directory, "image"), join(directory, "disk")];
    writeFileSync(image, Buffer.alloc(48 * 1024 * 1024));
    if (!run("mkfs.ext4", "-q", "-F", image)) return t.skip("no mkfs.ext4 here");
    if (!mount(cleanup, target, "-o", "loop", image)) return t.skip("cannot mount an image here");
    const child = startWriter(join(target, "db"), 100_000);
    await lineOf(child, /^acked 500$/);
    // The ioctl stops the disk first and its cache after that: a sync that runs meanwhile may
    // succeed on nothing, as no power cut would let it. Only rows from before it are asked for.
    const before = child.output.map((line) => Number(line.split(" ")[1]));
    if (!cutPower(target)) return t.skip("no python3, or no EXT4_IOC_SHUTDOWN, here");
    assert.deepEqual(await child.ended, { code: 74, signal: null });
    const acked = ackedOf(child);
    assert.ok(acked.size > 500 && before.length > 500);
    assert.ok(run("umount", target));
    assert.ok(run("mount", "-o", "loop", image, target));
    await checkAfter(join(target, "db"), acked, before);
  });
});

/** Writes until there is no room left. */
function fill(path: string): void {
  const fd = openSync(path, "w");
  try {
    for (const size of [65_536, 4096, 1]) {
      const chunk = Buffer.alloc(size, 1);
      for (let more = true; more; ) more = tryWrite(fd, chunk);
    }
  } finally {
    closeSync(fd);
  }
}

function tryWrite(fd: number, chunk: Buffer): boolean {
  try {
    return writeSync(fd, chunk) > 0;
  } catch {
    return false; // ENOSPC: that is the aim
  }
}

/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: the journal is not flushed either. */
function cutPower(target: string): boolean {
  const program = [
    "import fcntl, os, struct, sys",
    "fd = os.open(sys.argv[1], os.O_RDONLY)",
    "fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))",
  ].join("\n");
  return run("python3", "-c", program, target);
}
