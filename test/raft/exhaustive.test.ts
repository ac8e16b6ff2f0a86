/** Every schedule of three replicas, as far as some seconds go; `npm run test:exhaustive` goes on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { searchPlanted } from "./exhaustive/plant.ts";
import { largeScenarios, plantedSearches, smallScenarios } from "./exhaustive/scenarios.ts";
import { search } from "./exhaustive/search.ts";

/** Enough for the small ones to be seen whole. */
const statesOfSmall = 30_000;
const statesOfLarge = 15_000;
const statesOfPlanted = 20_000;
const mistakes = ["B1", "B2", "B13", "B14"];

for (const scenario of smallScenarios(statesOfSmall)) {
  test(`no schedule breaks a promise: ${scenario.name}, all of it`, () => {
    const { broken, trace, isComplete } = search(scenario);
    assert.equal(broken, "", trace.join("\n"));
    assert.ok(isComplete);
  });
}

for (const scenario of largeScenarios(statesOfLarge)) {
  test(`no schedule breaks a promise: ${scenario.name}, its first ${statesOfLarge} states`, () => {
    const { broken, trace } = search(scenario);
    assert.equal(broken, "", trace.join("\n"));
  });
}

for (const planted of plantedSearches(statesOfPlanted)) {
  if (!mistakes.includes(planted.id)) continue;
  test(`some schedule shows the planted mistake ${planted.id}`, async () => {
    const { broken, trace } = await searchPlanted(planted);
    assert.notEqual(broken, "");
    assert.ok(trace.length > 3, "and how it comes to that");
  });
}
