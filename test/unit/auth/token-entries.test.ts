import assert from "node:assert/strict";
import { test } from "node:test";
import {
  parseCodeqToken,
  parseTokensFile,
  sha256OfToken,
} from "../../../src/auth/token-entries.ts";
import { QueueError } from "../../../src/base/errors.ts";

const loopback = { tokenBytesMin: 1 };
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
  const [entry] = parseTokensFile([worker], loopback);
  assert.deepEqual(entry, {
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
  const list = [{ tokenSha256: hash, subject: "w", roles: ["worker"], eventTypes: ["a", "b"] }];
  const [entry] = parseTokensFile(list, { tokenBytesMin: 32 });
  assert.deepEqual(entry?.sha256, sha256OfToken("secret-w"));
  assert.deepEqual(entry?.queues, ["a", "b"]);
});

test("eventTypes with a star are all queues, and an empty list is none", () => {
  const read = (eventTypes: unknown) => parseTokensFile([{ ...worker, eventTypes }], loopback)[0];
  assert.equal(read(["a", "*"])?.queues, null);
  assert.deepEqual(read([])?.queues, []);
});

const refused: readonly [name: string, entry: unknown, field: string][] = [
  ["an unknown field", { ...worker, tenant: "a" }, "tokens[1].tenant"],
  ["no token", { subject: "w", roles: ["worker"] }, "tokens[1]"],
  ["both spellings", { ...worker, tokenSha256: "0".repeat(64) }, "tokens[1]"],
  [
    "a hash in upper case",
    { tokenSha256: "A".repeat(64), subject: "w", roles: ["worker"] },
    "tokens[1].tokenSha256",
  ],
  ["a token with a space", { ...worker, token: "a b" }, "tokens[1].token"],
  ["a token that is a number", { ...worker, token: 12345678 }, "tokens[1].token"],
  ["no subject", { token: "x", roles: ["worker"] }, "tokens[1].subject"],
  ["no roles", { token: "x", subject: "w" }, "tokens[1].roles"],
  ["an unknown role", { ...worker, roles: ["worker", "root"] }, "tokens[1].roles[1]"],
  ["a bad tenant", { ...worker, tenantId: "A_b" }, "tokens[1].tenantId"],
  ["a bad queue name", { ...worker, eventTypes: ["ok", "a/b"] }, "tokens[1].eventTypes[1]"],
  ["scopes that are no list", { ...worker, scopes: "codeq:claim" }, "tokens[1].scopes"],
  ["an entry that is a text", "secret", "tokens[1]"],
];

for (const [name, entry, field] of refused) {
  test(`the tokens file is refused for ${name}, and the error names the place`, () => {
    const error = refusal(() => parseTokensFile([{ ...worker, token: "other" }, entry], loopback));
    assert.equal(error.field, field);
    assert.doesNotMatch(error.text, /secret/u);
  });
}

test("a short token is refused unless the listener is loopback", () => {
  assert.equal(
    refusal(() => parseTokensFile([worker], { tokenBytesMin: 32 })).field,
    "tokens[0].token",
  );
  assert.equal(
    parseTokensFile([{ ...worker, token: "x".repeat(32) }], { tokenBytesMin: 32 }).length,
    1,
  );
});

test("codeQ's variables are read: unknown fields ignored, tenant and role under raw", () => {
  const value = {
    token: "dev-token",
    subject: "producer-dev",
    scopes: ["codeq:claim"],
    eventTypes: ["*"],
    email: "x@example.org",
    raw: { tenantId: "acme", role: "ADMIN", more: 1 },
  };
  assert.deepEqual(parseCodeqToken("producer", value, "PRODUCER_AUTH_CONFIG", loopback), {
    sha256: sha256OfToken("dev-token"),
    subject: "producer-dev",
    tenant: "acme",
    roles: ["producer", "admin"],
    scopes: ["codeq:claim"],
    queues: null,
  });
  const minimal = parseCodeqToken("worker", { token: "t" }, "WORKER_AUTH_CONFIG", loopback);
  assert.deepEqual(
    [minimal.subject, minimal.tenant, minimal.roles],
    ["worker", "default", ["worker"]],
  );
});

test("an error in a codeQ variable names the variable and the field", () => {
  const bad = { token: "t", raw: { tenantId: "Not OK" } };
  const error = refusal(() => parseCodeqToken("worker", bad, "WORKER_AUTH_CONFIG", loopback));
  assert.equal(error.field, "WORKER_AUTH_CONFIG.raw.tenantId");
});
