/**
 * FAULTS 5.1: bad input and the answer it must get. Rows of requests that are valid HTTP; those
 * that are not are in bad-bytes.test.ts.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type ErrorCode, QueueError } from "../../../src/base/errors.ts";
import { assertRefused, closeAll, type Harness, startHttp } from "./harness.ts";
import { idText } from "./scripted-router.ts";

let http: Harness;
const id = idText(1);

before(async () => {
  http = await startHttp();
});
after(async () => {
  // Whatever was sent: the node is there, and healthy.
  assert.equal((await http.get("/livez")).status, 200);
  assert.equal(http.router.created.filter(({ task }) => task.queue === "never").length, 0);
  await closeAll();
});

/** Bodies for POST /v1/tasks that must be refused; the queue `never` must stay unused. */
const createBodies: readonly [row: string, name: string, body: string | object, field?: string][] =
  [
    ["5.1-01", "malformed JSON", '{"command":"never",'],
    ["5.1-01", "an empty body", ""],
    ["5.1-01", "a list", "[]"],
    ["5.1-01", "a number", "7"],
    ["5.1-01", "null", "null"],
    ["5.1-10", "an unknown field", { command: "never", payload: 1, colour: "red" }, "colour"],
    ["5.1-10", "a text for a number", { command: "never", payload: 1, priority: "5" }, "priority"],
    ["5.1-10", "a number for a text", { command: 5, payload: 1 }, "command"],
    ["5.1-10", "no command", { payload: 1 }, "command"],
    ["5.1-10", "no payload", { command: "never" }, "payload"],
    ["5.1-10", "a null payload", { command: "never", payload: null }, "payload"],
    ["5.1-10", "a key twice", '{"command":"never","payload":1,"payload":2}', "payload"],
    [
      "5.1-10",
      "a key twice deep inside",
      '{"command":"never","payload":{"a":[{"b":1,"b":2}]}}',
      "payload.a[0].b",
    ],
    ["5.1-11", "__proto__", '{"command":"never","payload":1,"__proto__":{"x":1}}', "__proto__"],
    [
      "5.1-11",
      "__proto__ in the payload",
      '{"command":"never","payload":{"__proto__":{"x":1}}}',
      "payload.__proto__",
    ],
    [
      "5.1-11",
      "constructor.prototype",
      '{"command":"never","payload":{"constructor":{"prototype":{}}}}',
      "payload.constructor.prototype",
    ],
    [
      "5.1-12",
      "10,000 levels",
      `{"command":"never","payload":${"[".repeat(10_000)}${"]".repeat(10_000)}}`,
      "payload",
    ],
    [
      "5.1-12",
      "200,000 levels",
      `{"command":"never","payload":${"[".repeat(200_000)}${"]".repeat(200_000)}}`,
      "payload",
    ],
    [
      "5.1-12",
      "65 levels",
      `{"command":"never","payload":${"[".repeat(65)}${"]".repeat(65)}}`,
      "payload",
    ],
    ["5.1-13", "1e400", '{"command":"never","payload":1,"delaySeconds":1e400}', "delaySeconds"],
    ["5.1-13", "2^53+1", '{"command":"never","payload":1,"priority":9007199254740993}', "priority"],
    ["5.1-13", "-0", '{"command":"never","payload":1,"priority":-0}', "priority"],
    ["5.1-13", "1.5 for an integer", { command: "never", payload: 1, priority: 1.5 }, "priority"],
    [
      "5.1-13",
      "a negative number",
      { command: "never", payload: 1, maxAttempts: -3 },
      "maxAttempts",
    ],
    ["5.1-13", "NaN", '{"command":"never","payload":1,"priority":NaN}'],
    [
      "5.1-13",
      "the text NaN",
      { command: "never", payload: 1, delaySeconds: "NaN" },
      "delaySeconds",
    ],
    ["5.1-14", "a delay of -1", { command: "never", payload: 1, delaySeconds: -1 }, "delaySeconds"],
    [
      "5.1-14",
      "a delay of 10^12",
      { command: "never", payload: 1, delaySeconds: 1e12 },
      "delaySeconds",
    ],
    ["5.1-14", "runAt that is no time", { command: "never", payload: 1, runAt: "soon" }, "runAt"],
    [
      "5.1-14",
      "runAt in the year 0",
      { command: "never", payload: 1, runAt: "0000-01-01T00:00:00Z" },
      "runAt",
    ],
    [
      "5.1-14",
      "runAt in the year 275760",
      { command: "never", payload: 1, runAt: "+275760-09-13T00:00:00Z" },
      "runAt",
    ],
    [
      "5.1-14",
      "runAt in the year 9999",
      { command: "never", payload: 1, runAt: "9999-01-01T00:00:00Z" },
      "runAt",
    ],
    ["5.1-14", "maxAttempts 0", { command: "never", payload: 1, maxAttempts: 0 }, "maxAttempts"],
    [
      "5.1-14",
      "maxAttempts 10^9",
      { command: "never", payload: 1, maxAttempts: 1e9 },
      "maxAttempts",
    ],
    ["5.1-14", "priority -1", { command: "never", payload: 1, priority: -1 }, "priority"],
    ["5.1-14", "priority 10", { command: "never", payload: 1, priority: 10 }, "priority"],
    ["5.1-14", 'priority "9"', { command: "never", payload: 1, priority: "9" }, "priority"],
    ["5.1-15", "an empty name", { command: "", payload: 1 }, "command"],
    ["5.1-15", "129 characters", { command: "x".repeat(129), payload: 1 }, "command"],
    ["5.1-15", "a slash", { command: "a/b", payload: 1 }, "command"],
    ["5.1-15", "NUL", { command: "a\u0000b", payload: 1 }, "command"],
    ["5.1-15", "%2F", { command: "a%2Fb", payload: 1 }, "command"],
    ["5.1-15", "U+202E", { command: "a\u202eb", payload: 1 }, "command"],
    ["5.1-15", "a line end", { command: "a\n", payload: 1 }, "command"],
    ["5.1-15", "half a surrogate pair", '{"command":"a\\ud800","payload":1}', "command"],
    [
      "5.1-17",
      "an empty key",
      { command: "never", payload: 1, idempotencyKey: "" },
      "idempotencyKey",
    ],
    [
      "5.1-17",
      "a key of 257 bytes",
      { command: "never", payload: 1, idempotencyKey: "x".repeat(257) },
      "idempotencyKey",
    ],
    [
      "5.1-17",
      "a key of 256 characters and 512 bytes",
      { command: "never", payload: 1, idempotencyKey: "é".repeat(256) },
      "idempotencyKey",
    ],
  ];

for (const [row, name, body, field] of createBodies) {
  test(`${row} a create with ${name} gets 400`, async () => {
    assertRefused(await http.post("/v1/tasks", body), 400, "invalid_argument", field);
  });
}

test("5.1-15 invalid UTF-8 gets 400", async () => {
  const body = Buffer.from('{"command":"a\xff","payload":1}', "latin1");
  const head = `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
  const answer = await http.raw(Buffer.concat([Buffer.from(head), body]));
  assertRefused(answer, 400, "invalid_argument");
});

test("5.1-15 names of 128 characters, of either case, are fine", async () => {
  const command = `Aa.9_:-${"x".repeat(121)}`;
  assert.equal((await http.post("/v1/tasks", { command, payload: 1 })).body["command"], command);
});

const workerBodies: readonly [
  row: string,
  name: string,
  path: string,
  body: string | object,
  field?: string,
][] = [
  ["5.1-14", "a lease of 0", "/tasks/claim", { leaseSeconds: 0 }, "leaseSeconds"],
  ["5.1-14", "a lease of -1", "/tasks/claim", { leaseSeconds: -1 }, "leaseSeconds"],
  ["5.1-14", "a lease of 10^12 s", "/tasks/claim", { leaseSeconds: 1e12 }, "leaseSeconds"],
  ["5.1-14", "a wait of 31 s", "/tasks/claim", { waitSeconds: 31 }, "waitSeconds"],
  ["5.1-14", "a count of 0", "/tasks/claim/batch", { count: 0 }, "count"],
  ["5.1-14", "a count of 1,001", "/tasks/claim/batch", { count: 1001 }, "count"],
  ["5.1-10", "a count for one claim", "/tasks/claim", { count: 2 }, "count"],
  ["5.1-10", "commands that are no list", "/tasks/claim", { commands: "mail" }, "commands"],
  [
    "5.1-15",
    "a bad queue among good ones",
    "/tasks/claim",
    { commands: ["a", "b/c"] },
    "commands[1]",
  ],
  [
    "5.1-10",
    "257 queues",
    "/tasks/claim",
    { commands: Array.from({ length: 257 }, () => "q") },
    "commands",
  ],
  ["5.1-10", "an empty worker id", "/tasks/claim", { workerId: "" }, "workerId"],
  [
    "5.1-10",
    "a worker id of 129 characters",
    "/tasks/claim",
    { workerId: "w".repeat(129) },
    "workerId",
  ],
  ["5.1-10", "a worker id with a line end", "/tasks/claim", { workerId: "w\nx" }, "workerId"],
  ["5.1-14", "an extension of 0", `/tasks/${id}/heartbeat`, { extendSeconds: 0 }, "extendSeconds"],
  [
    "5.1-14",
    "an extension of 86,401",
    `/tasks/${id}/heartbeat`,
    { extendSeconds: 86_401 },
    "extendSeconds",
  ],
  [
    "5.1-10",
    "a token that is a number",
    `/tasks/${id}/abandon`,
    { leaseToken: 4096 },
    "leaseToken",
  ],
  [
    "5.1-10",
    "a token that is no number",
    `/tasks/${id}/abandon`,
    { leaseToken: "0x10" },
    "leaseToken",
  ],
  ["5.1-14", "a nack delay of -1", `/tasks/${id}/nack`, { delaySeconds: -1 }, "delaySeconds"],
  [
    "5.1-10",
    "a reason of 5,000 bytes",
    `/tasks/${id}/nack`,
    { reason: "é".repeat(2500) },
    "reason",
  ],
  ["5.1-01", "no body for a result", `/tasks/${id}/result`, ""],
  ["5.1-10", "an unknown status", `/tasks/${id}/result`, { status: "DONE" }, "status"],
  ["5.1-10", "FAILED without an error", `/tasks/${id}/result`, { status: "FAILED" }, "error"],
  [
    "5.1-10",
    "COMPLETED with an error",
    `/tasks/${id}/result`,
    { status: "COMPLETED", error: "x" },
    "error",
  ],
  ["5.1-18", "no results", "/tasks/batch/results", { results: [] }, "results"],
  [
    "5.1-18",
    "1,001 results",
    "/tasks/batch/results",
    { results: Array.from({ length: 1001 }, () => ({})) },
    "results",
  ],
  ["5.1-18", "no tasks", "/tasks/batch", { tasks: [] }, "tasks"],
  [
    "5.1-18",
    "1,001 tasks",
    "/tasks/batch",
    { tasks: Array.from({ length: 1001 }, () => ({})) },
    "tasks",
  ],
  ["5.1-10", "a field for cancel", `/tasks/${id}/cancel`, { force: true }, "force"],
];

for (const [row, name, path, body, field] of workerBodies) {
  test(`${row} ${name} gets 400 at ${path.replace(id, ":id")}`, async () => {
    assertRefused(await http.post(`/v1${path}`, body), 400, "invalid_argument", field);
  });
}

test("5.1-02 no Content-Type, or another one, gets 415 and reaches no handler", async () => {
  const body = '{"command":"never","payload":1}';
  const before_ = http.router.created.length;
  for (const type of [
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/jsonx",
    "text/json",
    "application/json+x",
  ]) {
    assertRefused(
      await http.post("/v1/tasks", body, { "content-type": type }),
      415,
      "unsupported_media_type",
    );
  }
  const none = await http.raw(
    `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  assertRefused(none, 415, "unsupported_media_type");
  assert.equal(http.router.created.length, before_);
});

test("5.1-03 no spelling of Content-Type leads around validation", async () => {
  const bad = '{"command":"never","payload":1,"colour":"red"}';
  const types = [
    "application/json\t;a",
    "application/JSON ;",
    "application/json;",
    "application/json ; charset=utf-8",
    "application/json; charset=utf-8 junk",
    "application/json, text/plain",
    " application/json",
    "application/json\u00a0;a",
    "application/json;charset",
  ];
  for (const type of types) {
    const head = `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${bad.length}\r\n\r\n`;
    const answer = await http.raw(Buffer.from(head + bad, "latin1"));
    assert.ok([400, 415].includes(answer.status), `${type}: ${answer.status}`);
    assert.ok(["invalid_argument", "unsupported_media_type"].includes(String(answer.body["code"])));
  }
});

test("5.1-04 a Content-Encoding gets 415; identity is none", async () => {
  const body = { command: "q", payload: 1 };
  for (const encoding of ["gzip", "br", "deflate", "gzip, identity"]) {
    const answer = await http.post("/v1/tasks", body, { "content-encoding": encoding });
    assertRefused(answer, 415, "unsupported_media_type");
  }
  assert.equal(
    (await http.post("/v1/tasks", body, { "content-encoding": "identity" })).status,
    202,
  );
});

test("5.1-05 a payload over the limit gets 413 though the body's limit holds it", async () => {
  const payload = "x".repeat(1024 * 1024);
  const answer = await http.post("/v1/tasks", { command: "never", payload });
  assertRefused(answer, 413, "payload_too_large", "payload");
  const fits = await http.post("/v1/tasks", { command: "q", payload: payload.slice(2) });
  assert.equal(fits.status, 202);
  const result = await http.post(`/v1/tasks/${id}/result`, {
    status: "COMPLETED",
    result: payload,
  });
  assertRefused(result, 413, "payload_too_large", "result");
});

test("5.1-09 unknown routes get 404, known paths with another method 405 and Allow", async () => {
  assertRefused(await http.get("/"), 404, "not_found");
  assertRefused(await http.get("/v1/nothing"), 404, "not_found");
  assertRefused(await http.post("/v2/tasks", {}), 404, "not_found");
  assertRefused(await http.get(`/v1/tasks/${"x".repeat(500)}/none/at/all`), 404, "not_found");
  const wrong = await http.send("DELETE", `/v1/tasks/${id}`);
  assertRefused(wrong, 405, "method_not_allowed");
  assert.equal(wrong.headers.get("allow"), "GET, HEAD, OPTIONS");
  const get = await http.get("/v1/tasks/batch/results");
  assertRefused(get, 405, "method_not_allowed");
  assert.match(get.headers.get("allow") ?? "", /POST/u);
  const options = await http.send("OPTIONS", "/v1/tasks/claim?x");
  assert.deepEqual(
    [options.status, options.headers.get("allow")],
    [204, "GET, HEAD, OPTIONS, POST"],
  );
  const head = await http.send("HEAD", `/v1/tasks/${id}`);
  assert.deepEqual([head.status, head.text], [200, ""]);
  assertRefused(await http.get("/v1/tasks/%zz"), 400, "invalid_argument");
});

test("5.1-10 unknown and repeated query parameters get 400 under /v1 and are ignored for codeQ", async () => {
  assertRefused(await http.get(`/v1/tasks/${id}?x=1`), 400, "invalid_argument", "x");
  assertRefused(
    await http.post("/v1/tasks?x=1", { command: "q", payload: 1 }),
    400,
    "invalid_argument",
    "x",
  );
  const twice = `/v1/tasks/${id}/result?waitSeconds=1&waitSeconds=2`;
  assertRefused(await http.get(twice), 400, "invalid_argument", "waitSeconds");
  assertRefused(
    await http.get(`/v1/tasks/${id}/result?waitSeconds=61`),
    400,
    "invalid_argument",
    "waitSeconds",
  );
  assertRefused(
    await http.get(`/v1/tasks/${id}/result?waitSeconds=-1`),
    400,
    "invalid_argument",
    "waitSeconds",
  );
  assertRefused(
    await http.get(`/v1/tasks/${id}?waitSeconds=1`),
    400,
    "invalid_argument",
    "waitSeconds",
  );
  assertRefused(
    await http.get(`/v1/tasks/${id}?consistency=weak`),
    400,
    "invalid_argument",
    "consistency",
  );
  assert.equal((await http.get(`/v1/codeq/tasks/${id}?x=1&consistency=weak`)).status, 200);
  await http.get(`/v1/codeq/tasks/${id}/result?waitSeconds=900`);
  assert.ok((http.router.reads.at(-1)?.waitMs ?? 0) <= 60_000);
});

test("5.1-11 a header named __proto__ is a header like any other", async () => {
  const answer = await http.raw(
    "GET /livez HTTP/1.1\r\nHost: a\r\n__proto__: x\r\nconstructor: y\r\nConnection: close\r\n\r\n",
  );
  assert.equal(answer.status, 200);
});

test("5.1-16 ids that are none get one and the same 404", async () => {
  const ids = [
    "1",
    "../etc/passwd",
    "' OR 1=1--",
    "%00",
    "x".repeat(128),
    id.replace("-7", "-4"),
    `${id}0`,
    "%F0%9F%98%80",
  ];
  const texts = new Set<string>();
  for (const one of ids) {
    const answer = await http.get(`/v1/tasks/${encodeURIComponent(decodeURIComponent(one))}`);
    assertRefused(answer, 404, "not_found");
    texts.add(String(answer.body["error"]));
    assertRefused(
      await http.post(`/v1/tasks/${encodeURIComponent(decodeURIComponent(one))}/abandon`),
      404,
      "not_found",
    );
  }
  assert.equal(texts.size, 1);
  assert.equal((await http.get(`/v1/tasks/${id.toUpperCase()}`)).status, 200);
});

test("5.1-17 keys in the header: empty, too long, not ASCII, twice", async () => {
  const body = '{"command":"never","payload":1}';
  const send = (lines: string) =>
    http.raw(
      Buffer.from(
        `POST /v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n${lines}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        "latin1",
      ),
    );
  for (const lines of [
    "Idempotency-Key:",
    `Idempotency-Key: ${"x".repeat(257)}`,
    "Idempotency-Key: cl\xe9",
    "Idempotency-Key: a\r\nIdempotency-Key: a",
  ]) {
    assertRefused(await send(lines), 400, "invalid_argument", "Idempotency-Key");
  }
  const forBatch = await http.post(
    "/v1/tasks/batch",
    { tasks: [{ command: "q", payload: 1 }] },
    { "idempotency-key": "k" },
  );
  assertRefused(forBatch, 400, "invalid_argument", "Idempotency-Key");
});

/** What the router may say, and what the client is then told. */
const fromRouter: readonly [
  row: string,
  code: ErrorCode,
  status: number,
  retryAfter: string | null,
][] = [
  ["5.1-17", "idempotency_conflict", 409, null],
  ["5.1-22", "rate_limited", 429, "1"],
  ["5.1-22", "overloaded", 503, "1"],
  ["5.1-22", "insufficient_storage", 507, "1"],
  ["5.1-22", "no_leader", 503, "1"],
  ["5.1-22", "draining", 503, "1"],
  ["5.1-22", "unknown_outcome", 504, null],
];

for (const [row, code, status, retryAfter] of fromRouter) {
  test(`${row} ${code} is told as ${status}`, async () => {
    http.router.answerCreate = () => ({ error: new QueueError(code, "because") });
    const answer = await http.post("/v1/tasks", { command: "q", payload: 1 });
    http.router.answerCreate = () => ({});
    assertRefused(answer, status, code);
    assert.equal(answer.headers.get("retry-after"), retryAfter);
  });
}

for (const what of ["heartbeat", "abandon", "nack", "result"]) {
  test(`5.1-19 ${what}: a lost lease is 409, an unknown task 404, and the token goes along`, async () => {
    const body = what === "result" ? { status: "COMPLETED" } : {};
    for (const [code, status] of [
      ["lease_lost", 409],
      ["not_found", 404],
    ] as const) {
      http.router.answerSettle = () => ({ error: new QueueError(code, "gone") });
      assertRefused(await http.post(`/v1/tasks/${id}/${what}`, body), status, code);
      assert.equal(http.router.settled.at(-1)?.leaseToken, 0);
    }
    await http.post(`/v1/tasks/${id}/${what}`, { ...body, leaseToken: "99999999999999999999" });
    assert.equal(http.router.settled.at(-1)?.leaseToken, Number.MAX_SAFE_INTEGER);
  });
}

test("5.1-23 a write on a follower is redirected to the configured address, whatever Host says", async () => {
  const leader = {
    shard: 2,
    term: 1,
    leaderId: "n2",
    leaderHttp: "http://n2.test:8080",
    leaderGrpc: "n2.test:9092",
  };
  http.router.answerCreate = () => ({
    error: new QueueError("not_leader", "not leader", { leader }),
  });
  const body = '{"command":"q","payload":1}';
  const answer = await http.raw(
    `POST /v1/tasks HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: evil.test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  http.router.answerCreate = () => ({});
  assertRefused(answer, 307, "not_leader");
  assert.equal(answer.headers.get("location"), "http://n2.test:8080/v1/tasks");
  assert.deepEqual([answer.body["leader"], answer.body["shard"]], ["http://n2.test:8080", 2]);
});

test("what nobody expected is 500 without details, and logged with the request's id", async () => {
  http.router.answerTask = () => Promise.reject(new Error("secret detail"));
  const answer = await http.get(`/v1/tasks/${id}`);
  assertRefused(answer, 500, "internal");
  assert.doesNotMatch(answer.text, /secret/u);
  const line = http.debugLines().find((one) => one["requestId"] === answer.body["requestId"]);
  assert.match(String(line?.["error"]), /secret detail/u);
  assert.equal(line?.["level"], "error");
});
