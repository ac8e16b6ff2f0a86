import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { describe, test } from "node:test";
import type { Logger, Timers } from "../../../src/base/effects.ts";
import { ConfigError } from "../../../src/node/config.ts";
import { exitCodeOf } from "../../../src/node/exit-code.ts";
import { createLifecycle } from "../../../src/node/lifecycle.ts";
import { checkMachine, type MachineFacts, readMachine } from "../../../src/node/preflight.ts";
import { StorageError } from "../../../src/storage/kv.ts";

/** A promise that the test settles. */
function gate() {
  const events = new EventEmitter();
  const promise = new Promise<void>((resolve, reject) => {
    events.once("open", resolve).once("fail", reject);
  });
  return {
    promise,
    open: () => events.emit("open"),
    fail: (error: unknown) => events.emit("fail", error),
  };
}

/** One life with a node whose start, stop and reload the test settles. */
function life() {
  const calls: string[] = [];
  const logged: string[] = [];
  const exits: number[] = [];
  const timeouts: (() => void)[] = [];
  const gates = { start: gate(), stop: gate(), reload: gate() };
  const act = (name: keyof typeof gates) => () => {
    calls.push(name);
    return gates[name].promise;
  };
  const log = (text: string, fields = {}) => void logged.push(`${text} ${JSON.stringify(fields)}`);
  const logger: Logger = { debug: log, info: log, warn: log, error: log, child: () => logger };
  const timers: Timers = {
    after: (_, callback) => {
      timeouts.push(callback);
      return { cancel: () => void timeouts.splice(timeouts.indexOf(callback), 1) };
    },
    soon: (callback) => callback(),
  };
  const events = new EventEmitter();
  const port = {
    on: (event: string, listener: (value: unknown) => void) => events.on(event, listener),
    exit: (code: number) => void exits.push(code),
  };
  const node = { start: act("start"), stop: act("stop"), reloadTokens: act("reload") };
  const done = createLifecycle(node, { logger, timers }, port).run();
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  return { calls, logged, exits, timeouts, gates, events, done, settle };
}

async function running() {
  const one = life();
  one.gates.start.open();
  await one.done;
  return one;
}

describe("a node's life", () => {
  test("stops in order on SIGTERM and exits with 0 when all is closed", async () => {
    const { events, calls, exits, gates, settle, timeouts } = await running();
    events.emit("SIGTERM");
    assert.deepEqual(calls, ["start", "stop"]);
    assert.deepEqual(exits, []);
    gates.stop.open();
    await settle();
    assert.deepEqual(exits, [0]);
    assert.equal(timeouts.length, 0);
  });

  test("a second signal ends it at once", async () => {
    const { events, exits } = await running();
    events.emit("SIGTERM");
    events.emit("SIGINT");
    assert.deepEqual(exits, [130]);
  });

  test("a signal while starting stops it when the start is done", async () => {
    const { events, calls, exits, gates, settle } = life();
    events.emit("SIGINT");
    assert.deepEqual(calls, ["start"]);
    gates.start.open();
    gates.stop.open();
    await settle();
    assert.deepEqual([calls, exits], [["start", "stop"], [0]]);
  });

  test("a stop that hangs ends with 70", async () => {
    const { events, exits, timeouts, logged } = await running();
    events.emit("SIGTERM");
    timeouts[0]?.();
    assert.deepEqual(exits, [70]);
    assert.match(logged.join("\n"), /not stopped after 40000 ms/);
  });

  test("a failed start ends with the error's exit code", async () => {
    const { gates, done, exits } = life();
    gates.start.fail(new StorageError("locked", "data is in use"));
    await done;
    assert.deepEqual(exits, [78]);
  });

  test("an error that nobody caught is logged in one line and ends it, once", async () => {
    const { events, exits, logged } = await running();
    events.emit("uncaughtException", new StorageError("io", "fsync failed"));
    events.emit("unhandledRejection", new Error("later"));
    assert.deepEqual(exits, [74]);
    assert.equal(logged.length, 1);
    assert.match(logged[0] ?? "", /fsync failed/);
  });

  test("SIGHUP reads the tokens again, and failing to leaves it running", async () => {
    const { events, calls, exits, gates, logged, settle } = await running();
    events.emit("SIGHUP");
    assert.deepEqual(calls, ["start", "reload"]);
    gates.reload.fail(new ConfigError(["auth.tokensFile: t: no such file"]));
    await settle();
    assert.match(logged.join(), /those in force stay.*no such file/);
    assert.deepEqual(exits, []);
  });

  test("SIGHUP while starting or stopping does nothing", async () => {
    const { events, calls, gates, done } = life();
    events.emit("SIGHUP");
    gates.start.open();
    await done;
    events.emit("SIGTERM");
    events.emit("SIGHUP");
    assert.deepEqual(calls, ["start", "stop"]);
  });
});

describe("exit codes", () => {
  const listen = (code: string) => Object.assign(new Error("x"), { code, syscall: "listen" });
  const cases: readonly (readonly [string, unknown, number])[] = [
    ["configuration", new ConfigError(["x"]), 78],
    ["a directory in use", new StorageError("locked", "x"), 78],
    ["another node's directory", new StorageError("foreign", "x"), 78],
    ["a later format", new StorageError("newer_format", "x"), 78],
    ["a file system that forgets", new StorageError("unsuitable", "x"), 78],
    ["a damaged record", new StorageError("corrupt", "x"), 74],
    ["a failing disk", new StorageError("io", "x"), 74],
    ["a lost file", new StorageError("missing", "x"), 74],
    ["use after close", new StorageError("closed", "x"), 70],
    ["a port in use", listen("EADDRINUSE"), 78],
    ["another system error", listen("EIO"), 70],
    ["a bug", new TypeError("x"), 70],
    ["something thrown that is no error", "x", 70],
  ];
  for (const [name, error, code] of cases) {
    test(`${name}: ${code}`, () => assert.equal(exitCodeOf(error), code));
  }
});

describe("the machine", () => {
  const fine: MachineFacts = {
    poolThreads: 8,
    openFilesMax: 4096,
    wallMs: 1_577_836_800_000,
    dataDirectory: "usable",
  };
  const check = (change: Partial<MachineFacts>) => checkMachine({ ...fine, ...change }, "/d");

  test("that is fine is taken without a word", () => {
    assert.deepEqual(check({}), { refused: [], warned: [] });
  });

  test("5.4-08 is refused for its directory", () => {
    for (const dataDirectory of ["parent missing", "not writable", "not a directory"] as const) {
      const { refused } = check({ dataDirectory });
      assert.deepEqual(refused, [`storage.path: /d: ${dataDirectory}`]);
    }
  });

  test("5.4-21 is refused for too few open files", () => {
    assert.match(check({ openFilesMax: 4095 }).refused.join(), /^open files: the limit is 4095/);
  });

  test("5.4-22 is refused for a clock that was never set", () => {
    assert.match(check({ wallMs: fine.wallMs - 1 }).refused.join(), /^clock:/);
  });

  test("5.4-20 with a small thread pool gets a warning", () => {
    const { refused, warned } = check({ poolThreads: 4 });
    assert.deepEqual([refused.length, warned.length], [0, 1]);
  });

  test("5.4-08 tells directories that can be used from those that cannot", () => {
    const kind = (path: string) => readMachine(path, 0).dataDirectory;
    assert.equal(kind("/tmp"), "usable");
    assert.equal(kind("/tmp/not-yet-there"), "usable");
    assert.equal(kind("/tmp/not/there"), "parent missing");
    assert.equal(kind("/proc/self/limits"), "not a directory");
    assert.equal(kind("/proc/self/limits/x"), "parent missing");
  });
});
