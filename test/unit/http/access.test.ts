import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Role, sha256OfToken, type TokenEntry } from "../../../src/auth/token-entries.ts";
import { assertRefused, closeAll, type Harness, startHttp } from "./harness.ts";
import { granted, idText, taskView } from "./scripted-router.ts";

let http: Harness;

function entry(token: string, roles: readonly Role[], more: Partial<TokenEntry> = {}): TokenEntry {
  return {
    sha256: sha256OfToken(token),
    subject: token,
    tenant: "acme",
    roles,
    scopes: null,
    queues: null,
    ...more,
  };
}

before(async () => {
  http = await startHttp({
    tokens: [
      entry("producer", ["producer"]),
      entry("worker", ["worker"]),
      entry("limited", ["worker"], { scopes: ["codeq:heartbeat"], queues: ["mail"] }),
      entry("mailer", ["worker"], { queues: ["mail", "sms"] }),
      entry("admin", ["admin"]),
      entry("other", ["producer", "worker"], { tenant: "other" }),
    ],
  });
  http.router.answerTask = (tenant, id) => Promise.resolve(taskView({ tenant, id }));
});
after(closeAll);

const id = idText(1);
const create = { command: "q", payload: 1 };
const completed = { status: "COMPLETED" };

/** Every route that wants a token, with the status each identity gets. */
const table: readonly {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly producer: number;
  readonly worker: number;
  readonly limited: number;
  readonly admin: number;
}[] = [
  {
    method: "POST",
    path: "/tasks",
    body: create,
    producer: 202,
    worker: 403,
    limited: 403,
    admin: 403,
  },
  {
    method: "POST",
    path: "/tasks/batch",
    body: { tasks: [create] },
    producer: 200,
    worker: 403,
    limited: 403,
    admin: 403,
  },
  {
    method: "POST",
    path: "/admin/members",
    body: { id: "n4", raft: "10.0.0.4:7000" },
    producer: 403,
    worker: 403,
    limited: 403,
    admin: 200,
  },
  {
    method: "DELETE",
    path: "/admin/members/n4",
    producer: 403,
    worker: 403,
    limited: 403,
    admin: 200,
  },
  {
    method: "POST",
    path: "/admin/leader/transfer",
    producer: 403,
    worker: 403,
    limited: 403,
    admin: 200,
  },
  { method: "POST", path: "/tasks/claim", producer: 403, worker: 204, limited: 403, admin: 403 },
  {
    method: "POST",
    path: "/tasks/claim/batch",
    producer: 403,
    worker: 204,
    limited: 403,
    admin: 403,
  },
  {
    method: "POST",
    path: `/tasks/${id}/heartbeat`,
    producer: 403,
    worker: 200,
    limited: 200,
    admin: 403,
  },
  {
    method: "POST",
    path: `/tasks/${id}/abandon`,
    producer: 403,
    worker: 200,
    limited: 403,
    admin: 403,
  },
  {
    method: "POST",
    path: `/tasks/${id}/nack`,
    producer: 403,
    worker: 200,
    limited: 403,
    admin: 403,
  },
  {
    method: "POST",
    path: `/tasks/${id}/result`,
    body: completed,
    producer: 403,
    worker: 200,
    limited: 403,
    admin: 403,
  },
  {
    method: "POST",
    path: "/tasks/batch/results",
    body: { results: [{ taskId: id, ...completed }] },
    producer: 403,
    worker: 200,
    limited: 403,
    admin: 403,
  },
  {
    method: "POST",
    path: `/tasks/${id}/cancel`,
    producer: 200,
    worker: 403,
    limited: 403,
    admin: 403,
  },
  { method: "GET", path: `/tasks/${id}`, producer: 200, worker: 200, limited: 200, admin: 200 },
  {
    method: "GET",
    path: `/tasks/${id}/result`,
    producer: 200,
    worker: 200,
    limited: 200,
    admin: 200,
  },
  { method: "GET", path: "/tasks", producer: 200, worker: 200, limited: 200, admin: 200 },
  { method: "GET", path: "/raft/status", producer: 200, worker: 200, limited: 200, admin: 200 },
  ...[
    { method: "GET", path: "/admin/queues" },
    { method: "GET", path: "/admin/queues/q" },
    { method: "POST", path: "/admin/queues/q/redrive" },
    { method: "POST", path: "/admin/queues/q/purge", body: { states: ["dead"] } },
    { method: "POST", path: "/admin/queues/q/pause" },
    { method: "POST", path: "/admin/queues/q/resume" },
    { method: "POST", path: "/admin/tasks/cleanup" },
  ].map((row) => ({ ...row, producer: 403, worker: 403, limited: 403, admin: 200 })),
];

for (const prefix of ["/v1", "/v1/codeq"]) {
  for (const row of table) {
    const { method, path, body } = row;
    test(`5.1-20 5.1-21 ${method} ${prefix}${path}: no token, wrong token, each role`, async () => {
      const ask = (token?: string) =>
        http.send(
          method,
          prefix + path,
          body,
          token === undefined ? {} : { authorization: `Bearer ${token}` },
        );
      assertRefused(await ask(), 401, "unauthenticated");
      assertRefused(await ask("unknown"), 401, "unauthenticated");
      for (const token of ["producer", "worker", "limited", "admin"] as const) {
        const answer = await ask(token);
        assert.equal(answer.status, row[token], `${token}: ${answer.text}`);
        if (row[token] === 403) assertRefused(answer, 403, "permission_denied");
      }
    });
  }
}

test("5.1-20 a bad token is refused before the body is read, with a challenge", async () => {
  const answer = await http.post("/v1/tasks", "{{{", { authorization: "Bearer nobody" });
  assertRefused(answer, 401, "unauthenticated");
  assert.equal(answer.headers.get("www-authenticate"), 'Bearer realm="quorumq"');
});

const badHeaders: readonly [name: string, lines: string][] = [
  ["two Authorization headers", "Authorization: Bearer producer\r\nAuthorization: Bearer producer"],
  ["an 8 KiB token", `Authorization: Bearer ${"x".repeat(8192)}`],
  ["a token with a space", "Authorization: Bearer pro ducer"],
  ["no token after Bearer", "Authorization: Bearer"],
  ["another scheme", "Authorization: Basic cHJvZHVjZXI="],
  ["the token without a scheme", "Authorization: producer"],
  ["a role by header", "X-Role: ADMIN"],
];

for (const [name, lines] of badHeaders) {
  test(`5.1-20 ${name} gets 401`, async () => {
    const answer = await http.raw(
      `GET /v1/tasks/${id} HTTP/1.1\r\nHost: a\r\n${lines}\r\nConnection: close\r\n\r\n`,
    );
    assertRefused(answer, 401, "unauthenticated");
  });
}

test("the scheme's case and more than one space do not matter", async () => {
  assert.equal(
    (await http.get(`/v1/tasks/${id}`, { authorization: "bearer   producer" })).status,
    200,
  );
});

test("5.1-21 a worker claims only from the queues that its token allows", async () => {
  const as = (token: string, body?: unknown) =>
    http.post("/v1/tasks/claim", body, { authorization: `Bearer ${token}` });
  const refused = await as("mailer", { commands: ["mail", "other"] });
  assertRefused(refused, 403, "permission_denied", "commands[1]");
  assert.equal((await as("mailer", { commands: ["sms"] })).status, 204);
  assert.deepEqual(http.router.claims.at(-1)?.queues, ["sms"]);
  await as("mailer");
  assert.deepEqual(http.router.claims.at(-1)?.queues, ["mail", "sms"]);
  await as("worker");
  assert.equal(http.router.claims.at(-1)?.queues, null);
});

test("5.1-21 every call is made in the tenant of the token", async () => {
  const headers = { authorization: "Bearer other" };
  http.router.answerClaim = ({ workerId }) => granted(workerId, ["1"]);
  await http.post("/v1/tasks", create, headers);
  assert.equal(http.router.created.at(-1)?.tenant, "other");
  await http.post("/v1/tasks/claim", undefined, headers);
  assert.equal(http.router.claims.at(-1)?.tenant, "other");
  assert.equal(http.router.claims.at(-1)?.workerId, "other");
  await http.post(`/v1/tasks/${id}/abandon`, undefined, headers);
  assert.equal(http.router.settled.at(-1)?.tenant, "other");
  await http.get(`/v1/tasks/${id}`, headers);
  assert.equal(http.router.reads.at(-1)?.tenant, "other");
  await http.get("/v1/tasks", headers);
  assert.equal(http.admin.calls.at(-1)?.[1], "other");
});

test("5.1-21 a list's cursor is worth nothing to another tenant", async () => {
  http.admin.answerList = async () => ({ tasks: [], next: Buffer.alloc(16, 1) });
  const own = await http.get("/v1/tasks", { authorization: "Bearer producer" });
  const path = `/v1/tasks?cursor=${String(own.body["cursor"])}`;
  assert.equal((await http.get(path, { authorization: "Bearer worker" })).status, 200);
  const foreign = await http.get(path, { authorization: "Bearer other" });
  assertRefused(foreign, 400, "invalid_argument", "cursor");
});

test("tokens and payloads are never logged", async () => {
  const canary = "canary-7b1f";
  await http.post(
    "/v1/tasks",
    { command: "q", payload: canary },
    { authorization: `Bearer ${canary}` },
  );
  await http.post("/v1/tasks", { command: canary }, { authorization: "Bearer producer" });
  await http.post("/v1/tasks", `{"command":"q","payload":"${canary}`, {
    authorization: "Bearer producer",
  });
  assert.ok(http.logLines.length > 0);
  assert.doesNotMatch(http.logLines.join(""), new RegExp(canary, "u"));
});
