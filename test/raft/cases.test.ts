/**
 * Transcripts as tests, one per file: our own under testdata/ (UPDATE=1 writes what comes out into
 * them, to be read in the diff), and those of the folder RAFT_CASES if it is there.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";
import { findCases, runCase } from "./interpreter.ts";

const own = join(import.meta.dirname, "testdata");
const given = process.env["RAFT_CASES"] ?? "../shared/raft-cases";

for (const file of findCases(own)) {
  test(`transcript ${relative(own, file)}`, () => {
    assert.equal(runCase(file, process.env["UPDATE"] === "1").failure, "");
  });
}

if (existsSync(given)) {
  for (const file of findCases(given)) {
    test(`case ${relative(given, file)}`, () => assert.equal(runCase(file).failure, ""));
  }
} else {
  test("cases of RAFT_CASES", { skip: `no folder ${given}` }, () => assert.fail("skipped"));
}
