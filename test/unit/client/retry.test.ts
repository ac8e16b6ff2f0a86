import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, errorCodes } from "../../../src/base/errors.ts";
import { limits } from "../../../src/base/limits.ts";
import { leavesDoubt, nextTry } from "../../../src/client/retry.ts";

const codes = Object.keys(errorCodes) as ErrorCode[];

test("every code of the table is treated as its retry column says", () => {
  for (const code of codes) {
    const { retry } = errorCodes[code];
    const first = nextTry({ code, tries: 1, isRepeatable: true });
    const unsafe = nextTry({ code, tries: 1, isRepeatable: false });
    const second = nextTry({ code, tries: 2, isRepeatable: true });
    const all = [first, second, unsafe];
    if (retry === "never" || code === "insufficient_storage") {
      assert.deepEqual(all, ["give up", "give up", "give up"], code);
    } else if (retry === "there" || retry === "elsewhere") {
      assert.deepEqual(all, ["elsewhere", "elsewhere", "elsewhere"], code);
    } else if (retry === "later") assert.deepEqual(all, ["later", "later", "later"], code);
    else if (retry === "once") assert.deepEqual(all, ["later", "give up", "give up"], code);
    else assert.deepEqual(all, ["later", "later", "give up"], code);
  }
});

test("what is not repeatable is given up exactly where it may have been done", () => {
  for (const code of codes.filter(leavesDoubt)) {
    assert.equal(nextTry({ code, tries: 1, isRepeatable: false }), "give up", code);
  }
});

test("a node that knows no leader again and again is left", () => {
  const tries = limits.clientNoLeaderTries;
  assert.equal(nextTry({ code: "no_leader", tries: tries - 1, isRepeatable: true }), "later");
  assert.equal(nextTry({ code: "no_leader", tries, isRepeatable: true }), "elsewhere");
});

test("the SDK's own codes are final", () => {
  for (const code of ["closed", "canceled"] as const) {
    assert.equal(nextTry({ code, tries: 1, isRepeatable: true }), "give up");
  }
});
