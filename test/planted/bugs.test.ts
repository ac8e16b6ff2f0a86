import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { planted } from "./bugs.ts";

test("each planted bug has its places once in the code, and changes five lines at the most", () => {
  for (const bug of planted) {
    let lines = 0;
    for (const { file, find, put } of [bug, ...(bug.also ?? [])]) {
      const parts = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8").split(find);
      assert.equal(parts.length, 2, `${bug.id}: its place is ${parts.length - 1} times in ${file}`);
      assert.notEqual(find, put, bug.id);
      const before = new Set(find.split("\n"));
      lines += put.split("\n").filter((line) => !before.has(line)).length;
    }
    assert.ok(lines <= 5, `${bug.id}: ${lines} lines`);
  }
  assert.equal(new Set(planted.map(({ id }) => id)).size, planted.length);
});
