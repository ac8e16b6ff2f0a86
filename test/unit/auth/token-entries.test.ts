import assert from "node:assert/strict";
import { test } from "node:test";
import { parseToken, sha256OfToken } from "../../../src/auth/token-entries.ts";
import { QueueError } from "../../../src/base/errors.ts";

const read = (entry: unknown) => parseToken({ origin: "t.yaml entry 2", codeqRole: null, entry });
const readCodeq = (codeqRole: "producer" | "worker", entry: unknown) =>
  parseToken({ origin: "auth.workerConfig", codeqRole, entry });
const worker = { token: "secret-w", subject: "w", roles: ["worker"] };

function refusal(run: () => unknown): { text: string; field: string | undefined } {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof QueueError);
    assert.equal(error.code, "invalid_argument");
    return { text: error.message, field: error.field };
  }
  assert.fail("not refused");
}

test("an entry of the tokens file is read with its defaults", () => {
  assert.deepEqual(read(worker), {
    sha256: sha256OfToken("secret-w"),
    subject: "w",
    tenant: "default",
    roles: ["worker"],
    scopes: null,
    queues: null,
  });
});

test("a hash stands for a token", () => {
  const hash = sha256OfToken("secret-w").toString("hex");
  const entry = read({
    tokenSha256: hash,
    subject: "w",
    roles: ["worker"],
    eventTypes: ["a", "b"],
  });
  assert.deepEqual(entry.sha256, sha256OfToken("secret-w"));
  assert.deepEqual(entry.queues, ["a", "b"]);
});

test("eventTypes with a star are all queues, and an empty list is none", () => {
  assert.equal(read({ ...worker, eventTypes: ["a", "*"] }).queues, null);
  assert.deepEqual(read({ ...worker, eventTypes: [] }).queues, []);
});

const refused: readonly [name: string, entry: unknown, field: string][] = [
  ["an unknown field", { ...worker, tenant: "a" }, "t.yaml entry 2.tenant"],
  ["no token", { subject: "w", roles: ["worker"] }, "t.yaml entry 2"],
  ["both spellings", { ...worker, tokenSha256: "0".repeat(64) }, "t.yaml entry 2"],
  [
    "a hash in upper case",
    { tokenSha256: "A".repeat(64), subject: "w", roles: ["worker"] },
    "t.yaml entry 2.tokenSha256",
  ],
  ["a token with a space", { ...worker, token: "a b" }, "t.yaml entry 2.token"],
  ["a token that is a number", { ...worker, token: 12345678 }, "t.yaml entry 2.token"],
  ["no subject", { token: "x", roles: ["worker"] }, "t.yaml entry 2.subject"],
  ["no roles", { token: "x", subject: "w" }, "t.yaml entry 2.roles"],
  ["an unknown role", { ...worker, roles: ["worker", "root"] }, "t.yaml entry 2.roles[1]"],
  ["a bad tenant", { ...worker, tenantId: "A_b" }, "t.yaml entry 2.tenantId"],
  ["a bad queue name", { ...worker, eventTypes: ["ok", "a/b"] }, "t.yaml entry 2.eventTypes[1]"],
  ["scopes that are no list", { ...worker, scopes: "codeq:claim" }, "t.yaml entry 2.scopes"],
  ["an entry that is a text", "secret", "t.yaml entry 2"],
];

for (const [name, entry, field] of refused) {
  test(`an entry is refused for ${name}, and the error names the place`, () => {
    const error = refusal(() => read(entry));
    assert.equal(error.field, field);
    assert.doesNotMatch(error.text, /secret/u);
  });
}

test("codeQ's variables are read: unknown fields ignored, tenant and role under raw", () => {
  const value = {
    token: "dev-token",
    subject: "producer-dev",
    scopes: ["codeq:claim"],
    eventTypes: ["*"],
    email: "x@example.org",
    raw: { tenantId: "acme", role: "ADMIN", more: 1 },
  };
  assert.deepEqual(readCodeq("producer", value), {
    sha256: sha256OfToken("dev-token"),
    subject: "producer-dev",
    tenant: "acme",
    roles: ["producer", "admin"],
    scopes: ["codeq:claim"],
    queues: null,
  });
  const minimal = readCodeq("worker", { token: "t" });
  assert.deepEqual(
    [minimal.subject, minimal.tenant, minimal.roles],
    ["worker", "default", ["worker"]],
  );
});

test("an error in a codeQ variable names the variable and the field", () => {
  const bad = { token: "t", raw: { tenantId: "Not OK" } };
  const error = refusal(() => readCodeq("worker", bad));
  assert.equal(error.field, "auth.workerConfig.raw.tenantId");
});
