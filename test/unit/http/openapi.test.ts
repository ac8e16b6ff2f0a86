/** The description of the API: valid, complete (the edge asserts that at start) and true. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { closeAll, type Harness, startHttp } from "./harness.ts";
import { granted, taskView } from "./scripted-router.ts";

let http: Harness;
let text: string;
let paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;

interface Operation {
  readonly requestBody?: {
    readonly content: { readonly "application/json": { readonly example: unknown } };
  };
  readonly responses: Readonly<Record<string, unknown>>;
}

before(async () => {
  http = await startHttp();
  const answer = await http.get("/openapi.json");
  assert.equal(answer.status, 200);
  text = answer.text;
  paths = answer.body["paths"] as typeof paths;
});
after(closeAll);

describe("/openapi.json", () => {
  test("passes the linter's recommended rules, examples included", async () => {
    const rules = {
      "no-invalid-schema-examples": "error",
      "no-invalid-media-type-examples": "error",
      "no-invalid-parameter-examples": "error",
    } as const;
    const config = await createConfig({ extends: ["recommended-strict"], rules });
    const problems = await lintFromString({ source: text, config });
    const told = problems.map(({ ruleId, message, location }) => {
      return `${ruleId}: ${message} at ${location[0]?.pointer ?? ""}`;
    });
    assert.deepEqual(told, []);
  });

  test("the linter would complain", async () => {
    const config = await createConfig({ extends: ["recommended-strict"] });
    const source = text.replace('"operationId":"createTask"', '"operationId":"createTasks"');
    assert.ok((await lintFromString({ source, config })).length > 0);
  });

  test("every example of a request is taken, and answered as described", async () => {
    http.router.answerClaim = ({ workerId }) => granted(workerId, ["1"]);
    http.router.answerResult = async () => null;
    let sent = 0;
    for (const [path, item] of Object.entries(paths)) {
      const { post } = item;
      if (post === undefined) continue;
      const url = path.replace("{id}", taskView().id).replace("{command}", "mail");
      const example = post.requestBody?.content["application/json"].example;
      const answer = await http.post(`/v1${url}`, example);
      assert.ok(Object.hasOwn(post.responses, String(answer.status)), `${path}: ${answer.text}`);
      assert.ok(answer.status < 300, `${path}: ${answer.text}`);
      sent++;
    }
    assert.ok(sent >= 15, `${sent}`);
  });
});
