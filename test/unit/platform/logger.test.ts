import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger, type LogFormat, type LogLevel } from "../../../src/platform/logger.ts";

function capture(format: LogFormat, level: LogLevel = "info") {
  const lines: string[] = [];
  const logger = createLogger({ format, level, write: (line) => lines.push(line) });
  return { logger, lines };
}

test("a JSON line holds time, level, text and fields", () => {
  const { logger, lines } = capture("json");
  logger.child({ node: "n1" }).warn("disk is slow", { ms: 12, ok: false });
  const line = JSON.parse(lines.join("")) as Record<string, unknown>;
  assert.match(String(line["time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u);
  delete line["time"];
  assert.deepEqual(line, { level: "warn", node: "n1", text: "disk is slow", ms: 12, ok: false });
});

test("a text line is for people", () => {
  const { logger, lines } = capture("text");
  logger.info("listening", { port: 8080, name: "a b" });
  assert.match(lines.join(""), /^\S+Z INFO {2}listening port=8080 name="a b"\n$/u);
});

for (const format of ["json", "text"] as const) {
  test(`no text can forge a line or steer a terminal (${format})`, () => {
    const { logger, lines } = capture(format);
    const evil = "a\r\nlevel=info forged\u001b[2J\u009b2J\u2028\u202eb\u0000";
    logger.error(evil, { field: evil });
    logger.child({ bound: evil }).info("x");
    assert.equal(lines.length, 2);
    for (const line of lines) {
      assert.equal(line.indexOf("\n"), line.length - 1);
      assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\u2028\u202e]/u);
    }
  });
}

test("lines below the level are not written", () => {
  const { logger, lines } = capture("json", "warn");
  logger.debug("no");
  logger.info("no");
  logger.warn("yes");
  assert.equal(lines.length, 1);
});
