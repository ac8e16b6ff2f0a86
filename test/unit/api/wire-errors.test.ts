import assert from "node:assert/strict";
import { test } from "node:test";
import {
  grpcErrorText,
  grpcStatusOf,
  itemErrorJson,
  serverErrorName,
  toHttpError,
  toQueueError,
} from "../../../src/api/wire-errors.ts";
import { type ErrorCode, errorCodes, QueueError } from "../../../src/base/errors.ts";

const context = { requestId: "r-1", url: "/v1/tasks?x=1" };
const leader = {
  shard: 3,
  term: 7,
  leaderId: "n2",
  leaderHttp: "http://n2.example:8080/",
  leaderGrpc: "n2.example:9092",
};

/** SPEC sections 6 and 7, written out. */
const statuses: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  method_not_allowed: 405,
  timeout: 408,
  idempotency_conflict: 409,
  lease_lost: 409,
  already_settled: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  headers_too_large: 431,
  internal: 500,
  no_leader: 503,
  not_leader: 503,
  overloaded: 503,
  draining: 503,
  unknown_outcome: 504,
  insufficient_storage: 507,
};

for (const code of Object.keys(errorCodes) as ErrorCode[]) {
  test(`${code} has its status, and Retry-After where waiting helps`, () => {
    const { status, headers, body } = toHttpError(new QueueError(code, "text"), context);
    assert.equal(status, statuses[code]);
    const waits = [429, 503, 507].includes(status);
    assert.equal(headers["retry-after"], waits ? "1" : undefined);
    const parsed = JSON.parse(body) as Record<string, unknown>;
    assert.equal(parsed["requestId"], "r-1");
    assert.equal(parsed["code"], code === "not_leader" ? "no_leader" : code);
    assert.ok(grpcStatusOf(code) > 0);
    assert.match(serverErrorName(code), /^[A-Z][A-Za-z]+$/u);
  });
}

test("a redirect leads to the configured address with the same path and query", () => {
  const error = new QueueError("not_leader", "not leader", { leader });
  const { status, headers, body } = toHttpError(error, context);
  assert.equal(status, 307);
  assert.equal(headers["location"], "http://n2.example:8080/v1/tasks?x=1");
  assert.deepEqual(JSON.parse(body), {
    error: "not leader",
    code: "not_leader",
    requestId: "r-1",
    leader: leader.leaderHttp,
    shard: 3,
  });
});

test("an error's own waiting time wins, in whole seconds", () => {
  const error = new QueueError("overloaded", "full", { retryAfterSeconds: 2.2 });
  assert.equal(toHttpError(error, context).headers["retry-after"], "3");
});

test("a field is named; challenges and allowed methods are headers", () => {
  const bad = new QueueError("invalid_argument", "priority must be <= 9", { field: "priority" });
  assert.equal((JSON.parse(toHttpError(bad, context).body) as { field: string }).field, "priority");
  const { headers } = toHttpError(new QueueError("unauthenticated", "no token"), context);
  assert.equal(headers["www-authenticate"], 'Bearer realm="quorumq"');
  const method = new QueueError("method_not_allowed", "no");
  assert.equal(toHttpError(method, { ...context, allow: "GET" }).headers["allow"], "GET");
});

test("an internal error's text and cause stay inside", () => {
  const error = toQueueError(new Error("secret /path"));
  assert.equal(error.code, "internal");
  const leaky = new QueueError("internal", "secret /path");
  assert.doesNotMatch(toHttpError(leaky, context).body, /secret/u);
  assert.doesNotMatch(itemErrorJson(leaky, {}), /secret/u);
  assert.doesNotMatch(grpcErrorText(leaky), /secret/u);
  const own = new QueueError("lease_lost", "gone");
  assert.equal(toQueueError(own), own);
});

test("an item's error has its id, text, code and field", () => {
  const error = new QueueError("invalid_argument", "bad", { field: "tasks[1].priority" });
  assert.deepEqual(JSON.parse(itemErrorJson(error, { taskId: "t" })), {
    taskId: "t",
    error: "bad",
    code: "invalid_argument",
    field: "tasks[1].priority",
  });
});

test("gRPC has its statuses and names", () => {
  assert.equal(grpcStatusOf("unauthenticated"), 16);
  assert.equal(grpcStatusOf("draining"), 14);
  assert.equal(grpcStatusOf("lease_lost"), 9);
  assert.equal(serverErrorName("permission_denied"), "PermissionDenied");
  assert.equal(serverErrorName("not_leader"), "ErrNotLeader");
  assert.equal(grpcErrorText(new QueueError("not_leader", "n2 leads")), "ErrNotLeader: n2 leads");
});
