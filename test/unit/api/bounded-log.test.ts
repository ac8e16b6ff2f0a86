import assert from "node:assert/strict";
import { test } from "node:test";
import { BoundedLog } from "../../../src/api/bounded-log.ts";
import { limits } from "../../../src/base/limits.ts";
import { createLogger } from "../../../src/platform/logger.ts";
import { ManualEffects } from "../client/manual-effects.ts";

test("refusals are told one by one up to a number in each second, then counted", () => {
  const effects = new ManualEffects();
  const lines: string[] = [];
  const logger = createLogger({ level: "info", format: "json", write: (line) => lines.push(line) });
  const log = new BoundedLog(
    { logger, clock: effects.clock, timers: effects.timers },
    "more was refused",
  );
  for (let i = 0; i < 1000; i++)
    log.note("request refused", { requestId: `r${i}`, code: "timeout" });
  assert.equal(lines.length, limits.boundedLines);
  assert.match(lines[0] ?? "", /"requestId":"r0","code":"timeout","text":"request refused"/);
  effects.advance(1_000);
  assert.equal(lines.length, limits.boundedLines + 1);
  assert.match(
    lines.at(-1) ?? "",
    new RegExp(`"count":${1000 - limits.boundedLines},"text":"more was refused"`),
  );
  log.note("request refused", { requestId: "later" });
  assert.match(lines.at(-1) ?? "", /later/);
  effects.advance(10_000);
  assert.equal(effects.pending, 0);
});

test("what clients send cannot forge a line or steer a terminal", () => {
  const effects = new ManualEffects();
  const lines: string[] = [];
  const logger = createLogger({ level: "info", format: "text", write: (line) => lines.push(line) });
  const log = new BoundedLog(
    { logger, clock: effects.clock, timers: effects.timers },
    "more was refused",
  );
  log.note("request refused", { route: "/v1/x\r\n2026 INFO forged\x1b[2J\u2028\u202e" });
  assert.equal(lines.length, 1);
  assert.doesNotMatch(lines[0]?.trimEnd() ?? "", /[\p{Cc}\u2028\u202e]/u);
});
