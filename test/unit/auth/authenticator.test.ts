import assert from "node:assert/strict";
import { test } from "node:test";
import { createAuthenticator } from "../../../src/auth/authenticator.ts";
import { type Role, sha256OfToken, type TokenEntry } from "../../../src/auth/token-entries.ts";
import { type ErrorCode, QueueError } from "../../../src/base/errors.ts";

function entry(token: string, roles: readonly Role[], more: Partial<TokenEntry> = {}): TokenEntry {
  const sha256 = sha256OfToken(token);
  return {
    sha256,
    subject: `${token}-subject`,
    tenant: "default",
    roles,
    scopes: null,
    queues: null,
    ...more,
  };
}

function make(tokens: readonly TokenEntry[], producerAsWorker = false) {
  return createAuthenticator({ tokens, open: false, producerAsWorker });
}

function code(run: () => unknown): ErrorCode | "accepted" {
  try {
    run();
    return "accepted";
  } catch (error) {
    assert.ok(error instanceof QueueError);
    return error.code;
  }
}

const auth = make([
  entry("p", ["producer"]),
  entry("w", ["worker"], { scopes: ["codeq:claim"], queues: ["mail"] }),
  entry("a", ["admin"]),
]);

const table: readonly [
  token: string | null,
  role: Role | "any",
  expected: ErrorCode | "accepted",
][] = [
  [null, "producer", "unauthenticated"],
  [null, "any", "unauthenticated"],
  ["", "any", "unauthenticated"],
  ["nobody", "producer", "unauthenticated"],
  ["p ", "producer", "unauthenticated"],
  ["P", "producer", "unauthenticated"],
  ["x".repeat(8192), "producer", "unauthenticated"],
  ["p", "producer", "accepted"],
  ["p", "worker", "permission_denied"],
  ["p", "admin", "permission_denied"],
  ["p", "any", "accepted"],
  ["w", "worker", "accepted"],
  ["w", "producer", "permission_denied"],
  ["a", "admin", "accepted"],
  ["a", "producer", "permission_denied"],
  ["a", "any", "accepted"],
];

for (const [token, role, expected] of table) {
  test(`token ${token?.slice(0, 8) ?? "none"} in the role ${role}: ${expected}`, () => {
    assert.equal(
      code(() => auth.authenticate(token, role)),
      expected,
    );
  });
}

test("an identity knows its tenant, scopes and queues", () => {
  const identity = auth.authenticate("w", "worker");
  assert.equal(identity.tenant, "default");
  assert.equal(identity.subject, "w-subject");
  assert.equal(identity.can("codeq:claim"), true);
  assert.equal(identity.can("codeq:result"), false);
  assert.equal(identity.can("codeq:admin"), false);
  assert.equal(identity.mayClaim("mail"), true);
  assert.equal(identity.mayClaim("Mail"), false);
});

test("absent scopes and queues are all of the role, but not of another role", () => {
  const free = make([entry("w", ["worker"])]).authenticate("w", "worker");
  assert.equal(free.can("codeq:nack"), true);
  assert.equal(free.can("codeq:admin"), false);
  assert.equal(free.mayClaim("anything"), true);
  assert.equal(auth.authenticate("p", "producer").can("codeq:claim"), false);
});

test("the scope codeq:admin makes an admin", () => {
  const admin = make([entry("p", ["producer"], { scopes: ["codeq:admin"] })]);
  assert.equal(admin.authenticate("p", "admin").can("codeq:admin"), true);
});

test("one token text is producer and worker with two subjects: the route decides", () => {
  const both = make([
    entry("t", ["producer"], { subject: "prod" }),
    entry("t", ["worker"], { subject: "work" }),
  ]);
  assert.equal(both.authenticate("t", "producer").subject, "prod");
  assert.equal(both.authenticate("t", "worker").subject, "work");
  assert.equal(
    code(() => both.authenticate("t", "admin")),
    "permission_denied",
  );
});

test("a producer works as a worker only where that is allowed", () => {
  const allowed = make([entry("p", ["producer"])], true);
  assert.equal(allowed.authenticate("p", "worker").can("codeq:claim"), true);
  assert.equal(
    code(() => make([entry("p", ["producer"])]).authenticate("p", "worker")),
    "permission_denied",
  );
});

test("a token with a worker's entry of its own keeps it when producers may work", () => {
  const mixed = make(
    [entry("t", ["producer"]), entry("t", ["worker"], { subject: "own", scopes: ["codeq:claim"] })],
    true,
  );
  const identity = mixed.authenticate("t", "worker");
  assert.equal(identity.subject, "own");
  assert.equal(identity.can("codeq:nack"), false);
});

test("replaced tokens count from the next call on", () => {
  const changing = make([entry("old", ["worker"])]);
  changing.replace([entry("new", ["worker"])]);
  assert.equal(
    code(() => changing.authenticate("old", "worker")),
    "unauthenticated",
  );
  assert.equal(changing.authenticate("new", "worker").subject, "new-subject");
});

test("a list that contradicts itself is refused and leaves the tokens as they were", () => {
  const kept = make([entry("t", ["worker"])]);
  const twoTenants = [entry("x", ["worker"]), entry("x", ["producer"], { tenant: "other" })];
  const twice = [entry("x", ["worker"]), entry("x", ["worker"])];
  assert.equal(
    code(() => kept.replace(twoTenants)),
    "invalid_argument",
  );
  assert.equal(
    code(() => kept.replace(twice)),
    "invalid_argument",
  );
  assert.equal(kept.authenticate("t", "worker").subject, "t-subject");
});

test("without tokens nobody is let in unless the node is open", () => {
  assert.equal(
    code(() => make([]).authenticate("t", "any")),
    "unauthenticated",
  );
  const open = createAuthenticator({ tokens: [], open: true, producerAsWorker: false });
  const identity = open.authenticate(null, "admin");
  assert.deepEqual([identity.subject, identity.tenant], ["anonymous", "default"]);
  assert.equal(identity.can("codeq:admin"), true);
  assert.equal(identity.can("codeq:claim"), true);
  assert.equal(identity.mayClaim("q"), true);
  open.replace([entry("t", ["worker"])]);
  assert.equal(
    code(() => open.authenticate(null, "worker")),
    "unauthenticated",
  );
});

test("the place of the matching entry does not show in the time an answer takes", () => {
  const many = Array.from({ length: 200 }, (_, i) => entry(`token-${i}`, ["worker"]));
  const slow = make(many);
  const cost = (token: string) => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 60; round++) {
      const started = performance.now();
      for (let i = 0; i < 50; i++) slow.authenticate(token, "worker");
      best = Math.min(best, performance.now() - started);
    }
    return best;
  };
  cost("token-0");
  const first = cost("token-0");
  const last = cost("token-199");
  // With an early exit the first entry would cost a twentieth of the last.
  assert.ok(first > last / 2 && last > first / 2, `first ${first} ms, last ${last} ms`);
});
