/** POST and DELETE /admin/members, POST /admin/leader/transfer. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { LogFields } from "../../../src/base/effects.ts";
import { QueueError } from "../../../src/base/errors.ts";
import { closeAll, type Harness, startHttp } from "./harness.ts";

let edge: Harness;

beforeEach(async () => {
  edge = await startHttp();
});
afterEach(closeAll);

/** The lines of admin actions, without time, request id and who did it. */
function audited(): LogFields[] {
  return edge
    .debugLines()
    .filter((line) => line["text"] === "admin action")
    .map(({ time: _, level: __, text: ___, requestId, subject, tenant, ...fields }) => {
      assert.match(String(requestId), /^[0-9a-f]{8}-/);
      assert.deepEqual([subject, tenant], ["anonymous", "default"]);
      return fields;
    });
}

describe("members", () => {
  test("are added with their addresses, and the answer is the membership", async () => {
    const body = { id: "n4", raft: "10.0.0.4:7000", http: "http://q4:8080", grpc: "q4:9092" };
    const { status, body: answer } = await edge.send("POST", "/v1/admin/members", body);
    assert.equal(status, 200);
    assert.deepEqual(answer, { voters: ["n1"], learners: ["n4"] });
    const { raft, http, grpc } = body;
    assert.deepEqual(edge.members.calls, [["add", { nodeId: "n4", raft, http, grpc }]]);
    const line = { action: "member add", member: "n4", voters: "n1", learners: "n4" };
    assert.deepEqual(audited(), [line]);
  });

  test("are removed by their name", async () => {
    const { status } = await edge.send("DELETE", "/v1/admin/members/n2");
    assert.equal(status, 200);
    assert.deepEqual(edge.members.calls, [["remove", "n2"]]);
    assert.deepEqual(
      audited().map(({ action, member }) => [action, member]),
      [["member remove", "n2"]],
    );
  });

  test("hand leadership over: everything, or one shard to one of them", async () => {
    await edge.send("POST", "/v1/admin/leader/transfer");
    await edge.send("POST", "/v1/admin/leader/transfer", { shard: 2, to: "n3" });
    assert.deepEqual(edge.members.calls, [
      ["transfer", null, null],
      ["transfer", 2, "n3"],
    ]);
    assert.deepEqual(
      audited().map(({ action, shard, member }) => [action, shard, member]),
      [
        ["leader transfer", "all", "any"],
        ["leader transfer", 2, "n3"],
      ],
    );
  });

  for (const [name, body, field] of [
    ["without a name", { raft: "10.0.0.4:7000" }, "id"],
    ["without an address", { id: "n4" }, "raft"],
    ["with a path in its name", { id: "../n4", raft: "10.0.0.4:7000" }, "id"],
    ["with no port", { id: "n4", raft: "10.0.0.4" }, "raft"],
    ["with a port over 65535", { id: "n4", raft: "10.0.0.4:70000" }, "raft"],
    ["with a URL that has a path", { id: "n4", raft: "h:1", http: "http://h/x" }, "http"],
    ["with an unknown field", { id: "n4", raft: "h:1", weight: 1 }, "weight"],
  ] as const) {
    test(`are refused ${name}`, async () => {
      const { status, body: answer } = await edge.send("POST", "/v1/admin/members", body);
      assert.equal(status, 400);
      assert.equal(answer["code"], "invalid_argument");
      assert.equal(answer["field"], field);
      assert.deepEqual(edge.members.calls, []);
    });
  }

  test("tell why a change is not made", async () => {
    edge.members.answer = () =>
      Promise.reject(new QueueError("overloaded", "another change is under way"));
    const { status, body } = await edge.send("DELETE", "/v1/admin/members/n2");
    assert.equal(status, 503);
    assert.equal(body["code"], "overloaded");
    assert.deepEqual(audited(), [{ action: "member remove", member: "n2", code: "overloaded" }]);
  });
});
