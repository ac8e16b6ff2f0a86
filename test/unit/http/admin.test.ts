/** Lists, admin actions and the looks at the cluster, as they stand on the wire. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { QueueError } from "../../../src/base/errors.ts";
import { assertRefused, closeAll, type Harness, startHttp } from "./harness.ts";
import { queueView } from "./scripted-admin.ts";
import { idBytes, idText, taskView } from "./scripted-router.ts";

let http: Harness;
before(async () => {
  http = await startHttp({ slowMs: 1 });
});
beforeEach(() => {
  http.admin.calls.length = 0;
  http.logLines.length = 0;
});
after(closeAll);

/** The lines of admin actions so far, without time and request id. */
function audited(): unknown[] {
  return http
    .debugLines()
    .filter((line) => line["text"] === "admin action")
    .map(({ time: _, level: __, text: ___, requestId, ...fields }) => {
      assert.match(String(requestId), /^[0-9a-f]{8}-/);
      return fields;
    });
}

describe("GET /tasks", () => {
  test("gives tasks, and a cursor that leads to the next page", async () => {
    http.admin.answerList = async ({ after }) =>
      after === null
        ? { tasks: [taskView(), taskView({ id: idText(2) })], next: idBytes(2) }
        : { tasks: [], next: null };
    const first = await http.get("/v1/tasks?state=ready&command=mail&limit=2");
    assert.equal(first.status, 200);
    assert.equal(first.headers.get("cache-control"), "no-store");
    const tasks = first.body["tasks"] as { id: string; payload: unknown }[];
    assert.deepEqual(
      tasks.map((task) => task.id),
      [idText(1), idText(2)],
    );
    assert.deepEqual(tasks[0]?.payload, { to: "a" });
    const cursor = String(first.body["cursor"]);
    const path = `/v1/tasks?limit=2&command=mail&state=ready&cursor=${cursor}`;
    const second = await http.get(path);
    assert.deepEqual(second.body, { tasks: [] });
    const query = { state: "ready", queue: "mail", limit: 2 };
    assert.deepEqual(http.admin.calls, [
      ["list", "default", { ...query, after: null }],
      ["list", "default", { ...query, after: idBytes(2).toString("hex") }],
    ]);
    // it belongs to this filter, and bears no change
    for (const bad of [`state=dead&command=mail&cursor=${cursor}`, `cursor=${cursor}`]) {
      assertRefused(await http.get(`/v1/tasks?${bad}`), 400, "invalid_argument", "cursor");
    }
    const changed = `${path.slice(0, -4)}AAAA`;
    assertRefused(await http.get(changed), 400, "invalid_argument", "cursor");
  });

  test("has defaults, and payloads as texts for codeQ's clients", async () => {
    http.admin.answerList = async () => ({ tasks: [taskView()], next: null });
    const answer = await http.get("/v1/codeq/tasks?limit=5000&colour=red");
    const [task] = answer.body["tasks"] as { payload: unknown }[];
    assert.equal(task?.payload, '{"to":"a"}');
    await http.get("/v1/tasks");
    const limits = http.admin.calls.map((call) => (call[2] as { limit: number }).limit);
    assert.deepEqual(limits, [1000, 100]);
  });

  test("tells the reader's failure", async () => {
    http.admin.answerList = () => Promise.reject(new QueueError("no_leader", "none"));
    assertRefused(await http.get("/v1/tasks"), 503, "no_leader");
  });

  const bad: readonly [name: string, query: string, field: string][] = [
    ["a state that is none", "state=done", "state"],
    ["an empty state", "state=", "state"],
    ["a name that is none", "command=a%2Fb", "command"],
    ["limit 0", "limit=0", "limit"],
    ["limit 1001", "limit=1001", "limit"],
    ["a limit that is no number", "limit=1e2", "limit"],
    ["a limit twice", "limit=1&limit=2", "limit"],
    ["a cursor that is none", "cursor=abc", "cursor"],
    ["a cursor of nothing", "cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "cursor"],
    ["a long cursor", `cursor=${"A".repeat(5000)}`, "cursor"],
    ["an unknown parameter", "colour=red", "colour"],
    ["__proto__", "__proto__=1", "__proto__"],
  ];
  for (const [name, query, field] of bad) {
    test(`5.1-10 refuses ${name} in a list's query`, async () => {
      assertRefused(await http.get(`/v1/tasks?${query}`), 400, "invalid_argument", field);
      assert.deepEqual(http.admin.calls, []);
    });
  }
});

describe("GET /admin/queues", () => {
  test("pages by name", async () => {
    http.admin.answerQueues = () => ({ queues: [queueView("a"), queueView("b")], next: "b" });
    const first = await http.get("/v1/admin/queues?limit=2");
    assert.deepEqual((first.body["queues"] as unknown[])[0], {
      command: "a",
      ready: 1,
      delayed: 2,
      leased: 3,
      dead: 4,
      paused: false,
      oldestReadyAgeMs: 5,
      createdPerSecond: 0.5,
      settledPerSecond: 0.25,
    });
    http.admin.answerQueues = () => ({ queues: [], next: null });
    const cursor = String(first.body["cursor"]);
    const last = await http.get(`/v1/admin/queues?cursor=${cursor}`);
    assert.deepEqual(last.body, { queues: [] });
    assert.deepEqual(http.admin.calls, [
      ["queues", "default", { after: "", limit: 2 }],
      ["queues", "default", { after: "b", limit: 1000 }],
    ]);
    // a position of one list is none of another
    assertRefused(await http.get(`/v1/tasks?cursor=${cursor}`), 400, "invalid_argument", "cursor");
  });

  test("one queue has codeQ's names, too", async () => {
    const { body } = await http.get("/v1/admin/queues/mail");
    assert.deepEqual([body["command"], body["inProgress"], body["dlq"]], ["mail", 3, 4]);
  });

  test("5.1-15 a name that is none is refused", async () => {
    for (const name of ["a%2Fb", "%00", "%E2%80%AEx", "a".repeat(129), "%FF"]) {
      const answer = await http.get(`/v1/admin/queues/${name}`);
      assert.equal(answer.status, 400, name);
    }
    assert.deepEqual(http.admin.calls, []);
  });
});

describe("admin actions", () => {
  test("redrive, purge, pause, resume and cleanup answer with counts, and are audited", async () => {
    const queue = "/v1/admin/queues/mail";
    const answers = [
      await http.post(`${queue}/redrive`),
      await http.post(`${queue}/redrive`, { ids: [idText(1)], limit: 5 }),
      await http.post(`${queue}/purge`, { states: ["ready", "dead"] }),
      await http.post(`${queue}/purge`, { ids: [idText(2).toUpperCase()] }),
      await http.post(`${queue}/pause`),
      await http.post(`${queue}/resume`, {}),
      await http.post("/v1/admin/tasks/cleanup", { before: "2026-01-02T03:04:05.678Z", limit: 7 }),
    ];
    assert.deepEqual(
      answers.map(({ status, body }) => [status, body]),
      [
        [200, { redriven: 3 }],
        [200, { redriven: 3 }],
        [200, { purged: 3 }],
        [200, { purged: 3 }],
        [200, { paused: true }],
        [200, { paused: false }],
        [200, { deleted: 3, before: "2026-01-02T03:04:05.678Z", limit: 7 }],
      ],
    );
    const one = idBytes(1).toString("hex");
    const two = idBytes(2).toString("hex");
    assert.deepEqual(http.admin.calls, [
      ["redrive", "default", "mail", { ids: null, limit: 1e9 }],
      ["redrive", "default", "mail", { ids: [one], limit: 5 }],
      ["purge", "default", "mail", { ids: null, limit: 1e9, states: ["ready", "dead"] }],
      ["purge", "default", "mail", { ids: [two], limit: 1e9, states: null }],
      ["pause", "default", "mail", true],
      ["pause", "default", "mail", false],
      ["cleanup", "default", { beforeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678), limit: 7 }],
    ]);
    const who = { subject: "anonymous", tenant: "default" };
    assert.deepEqual(audited(), [
      { ...who, action: "redrive", queue: "mail", redriven: 3 },
      { ...who, action: "redrive", queue: "mail", redriven: 3 },
      { ...who, action: "purge", queue: "mail", purged: 3 },
      { ...who, action: "purge", queue: "mail", purged: 3 },
      { ...who, action: "pause", queue: "mail", paused: true },
      { ...who, action: "resume", queue: "mail", paused: false },
      { ...who, action: "cleanup", deleted: 3, before: "2026-01-02T03:04:05.678Z", limit: 7 },
    ]);
  });

  test("one that failed is audited with its code", async () => {
    http.admin.answerAction = () => Promise.reject(new QueueError("overloaded", "too much"));
    assertRefused(await http.post("/v1/admin/queues/mail/redrive"), 503, "overloaded");
    http.admin.answerAction = () => Promise.resolve(3);
    const who = { subject: "anonymous", tenant: "default" };
    assert.deepEqual(audited(), [{ ...who, action: "redrive", queue: "mail", code: "overloaded" }]);
  });

  test("one whose caller is gone is told to stop", async () => {
    const stopped = new Promise<void>((resolve) => {
      http.admin.answerAction = (signal) =>
        new Promise((done) => {
          signal.addEventListener("abort", () => {
            done(1);
            resolve();
          });
          socket.destroy();
        });
    });
    const socket = await http.connect();
    socket.write(
      "POST /v1/admin/queues/q/redrive HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    );
    await stopped;
    http.admin.answerAction = () => Promise.resolve(3);
  });

  const id = idText(1);
  const bad: readonly [name: string, path: string, body: object, field: string][] = [
    ["an unknown field", "queues/q/redrive", { state: "dead" }, "state"],
    ["no states and no ids", "queues/q/purge", {}, "states"],
    ["a state that is none", "queues/q/purge", { states: ["done"] }, "states[0]"],
    ["no states in the list", "queues/q/purge", { states: [] }, "states"],
    ["an id that is none", "queues/q/redrive", { ids: [id, "x"] }, "ids[1]"],
    ["SQL for an id", "queues/q/purge", { ids: ["'; drop table tasks; --"] }, "ids[0]"],
    ["no ids in the list", "queues/q/redrive", { ids: [] }, "ids"],
    ["1,001 ids", "queues/q/redrive", { ids: Array(1001).fill(id) }, "ids"],
    ["limit 0", "queues/q/redrive", { limit: 0 }, "limit"],
    ["limit -1", "queues/q/purge", { states: ["dead"], limit: -1 }, "limit"],
    ["limit 1e12", "tasks/cleanup", { limit: 1e12 }, "limit"],
    ["a text for a limit", "tasks/cleanup", { limit: "5" }, "limit"],
    ["a time that is none", "tasks/cleanup", { before: "yesterday" }, "before"],
    ["a field for pause", "queues/q/pause", { paused: true }, "paused"],
  ];
  for (const [name, path, body, field] of bad) {
    test(`5.1-10 refuses ${name} in POST /admin/${path}`, async () => {
      const answer = await http.post(`/v1/admin/${path}`, body);
      assertRefused(answer, 400, "invalid_argument", field);
      assert.deepEqual(http.admin.calls, []);
    });
  }

  test("5.1-15 refuses names that are none", async () => {
    for (const action of ["redrive", "purge", "pause", "resume"]) {
      const body = action === "purge" ? { states: ["dead"] } : {};
      const answer = await http.post(`/v1/admin/queues/a%2Fb/${action}`, body);
      assertRefused(answer, 400, "invalid_argument", "command");
    }
  });

  test("codeQ's dialect clamps and ignores", async () => {
    const answer = await http.post("/v1/codeq/admin/tasks/cleanup", { limit: 1e12, colour: 1 });
    assert.equal(answer.status, 200);
    assert.equal(answer.body["limit"], 1e9);
  });
});

describe("the cluster", () => {
  test("GET /raft/status has codeQ's names", async () => {
    const group = {
      shard: 0,
      isLeader: true,
      selfId: "n1",
      leaderId: "n1",
      leaderHttp: "http://a:1",
      term: 2,
      commitIndex: 3,
      appliedIndex: 3,
      lastIndex: 4,
      voters: ["n1"],
      learners: [],
      followers: [],
    };
    http.admin.answerRaft = { enabled: false, groups: [group] };
    const { body } = await http.get("/v1/raft/status");
    const { shard, leaderHttp, ...same } = group;
    const shown = { shardIdx: shard, leaderHTTPAddr: leaderHttp, hasLeader: true, ...same };
    assert.deepEqual(body, { enabled: false, numGroups: 1, groups: [shown] });
  });

  test("GET /cluster/nodes answers at the root and under both prefixes", async () => {
    const node = { id: "n1", address: "", http: "http://a:1", grpc: "a:2", version: "1.2.3" };
    const seen = { isLeader: true, reachable: true, lastContactMs: 0, shardsLed: [0] };
    http.admin.answerNodes = { nodes: [{ ...node, ...seen }], leader: "n1" };
    for (const prefix of ["", "/v1", "/v1/codeq"]) {
      const { body } = await http.get(`${prefix}/cluster/nodes`);
      const shown = { is_leader: true, reachable: true, last_contact_ms: 0, shards_led: [0] };
      assert.deepEqual(body, { nodes: [{ ...node, ...shown }], leader: "n1" });
    }
  });
});

describe("CORS", () => {
  const preflight = {
    origin: "https://board.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
  };

  test("is off by default", async () => {
    const answer = await http.send("OPTIONS", "/v1/tasks", undefined, preflight);
    const read = await http.get("/v1/tasks", { origin: "https://board.example" });
    for (const { headers } of [answer, read]) {
      assert.equal(headers.get("access-control-allow-origin"), null);
    }
  });

  test("lets the configured origins read, and no others", async () => {
    const open = await startHttp({ corsOrigins: ["https://board.example"] });
    const asked = await open.send("OPTIONS", "/v1/tasks", undefined, preflight);
    assert.equal(asked.status, 204);
    assert.equal(asked.headers.get("access-control-allow-origin"), "https://board.example");
    assert.match(asked.headers.get("access-control-allow-headers") ?? "", /authorization/);
    const read = await open.get("/v1/tasks", { origin: "https://board.example" });
    assert.equal(read.headers.get("access-control-allow-origin"), "https://board.example");
    assert.equal(read.headers.get("vary"), "origin");
    const refused = await open.get("/v1/nothing", { origin: "https://board.example" });
    assert.equal(refused.headers.get("access-control-allow-origin"), "https://board.example");
    const other = await open.get("/v1/tasks", { origin: "https://evil.example" });
    assert.equal(other.headers.get("access-control-allow-origin"), null);
  });

  test("* is for all", async () => {
    const open = await startHttp({ corsOrigins: ["*"] });
    const read = await open.get("/v1/tasks", { origin: "https://any.example" });
    assert.equal(read.headers.get("access-control-allow-origin"), "*");
  });
});

describe("every answer", () => {
  test("is kept nowhere and never compressed", async () => {
    const answers = [
      await http.get("/v1/tasks", { "accept-encoding": "gzip, br" }),
      await http.get("/metrics", { "accept-encoding": "gzip" }),
      await http.get("/nothing"),
      await http.post("/v1/tasks", "{"),
      await http.raw("nonsense\r\n\r\n"),
    ];
    for (const { headers } of answers) {
      assert.equal(headers.get("cache-control"), "no-store");
      assert.equal(headers.get("content-encoding"), null);
    }
  });
});
