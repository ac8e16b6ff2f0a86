import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { planted } from "./bugs.ts";

test("each planted bug has one place in the code, and changes five lines at the most", () => {
  for (const { id, file, find, put } of planted) {
    const parts = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8").split(find);
    assert.equal(parts.length, 2, `${id}: its place is ${parts.length - 1} times in ${file}`);
    assert.notEqual(find, put, id);
    assert.ok(put.split("\n").length <= 6, `${id}: ${put}`);
  }
  assert.equal(new Set(planted.map(({ id }) => id)).size, planted.length);
});
