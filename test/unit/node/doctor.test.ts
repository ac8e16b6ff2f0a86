import assert from "node:assert/strict";
import { test } from "node:test";
import { checkConfig, checkMemory, checkNode } from "../../../src/node/doctor-checks.ts";
import { judgeStream, judgeSyncs } from "../../../src/node/doctor-disk.ts";

test("Node below 20.19 cannot run it, a line without fixes is warned of", () => {
  const levels = ["18.20.0", "20.18.3", "20.19.0", "22.1.0", "24.0.0"].map(
    (version) => checkNode(version).level,
  );
  assert.deepEqual(levels, ["fail", "fail", "warn", "ok", "ok"]);
});

test("a configuration with problems fails and names them", () => {
  const check = checkConfig(["http.port: must be an integer", "x: unknown"]);
  assert.equal(check.level, "fail");
  assert.match(check.detail, /http\.port.*x: unknown/);
  assert.equal(checkConfig([]).level, "ok");
});

test("little memory is warned of", () => {
  assert.equal(checkMemory(256 * 2 ** 20).level, "warn");
  assert.equal(checkMemory(2 ** 31).level, "ok");
});

test("a slow fsync is warned of, one that stalls heartbeats fails", () => {
  const times = (ms: number) => Array.from({ length: 100 }, () => ms);
  assert.deepEqual(
    [0.3, 8, 80].map((ms) => judgeSyncs(times(ms)).level),
    ["ok", "warn", "fail"],
  );
  assert.match(judgeSyncs([...times(1).slice(1), 90]).detail, /median 1.00 ms, p99 90.00 ms/);
});

test("slow writes are warned of", () => {
  assert.deepEqual([judgeStream(500).level, judgeStream(20).level], ["ok", "warn"]);
});
