/** A place that the built code has no more would only be missed by the process tests, at their end. */
import { test } from "node:test";
import { FailingBuild } from "../integration/cluster/failpoints.ts";

test("every place at which a node can be made to die stands once in the built code", () => {
  new FailingBuild().remove();
});
