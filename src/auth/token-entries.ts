/**
 * What a configured token is, and how its two spellings are read: an entry of the tokens file, and
 * codeQ's PRODUCER_AUTH_CONFIG / WORKER_AUTH_CONFIG (SPEC sections 5 and 7). The text of a token
 * does not outlive the reading: only its SHA-256 is kept.
 */
import { createHash } from "node:crypto";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";

export type Role = "producer" | "worker" | "admin";

export interface TokenEntry {
  /** SHA-256 of the token's text. */
  readonly sha256: Buffer;
  readonly subject: string;
  readonly tenant: string;
  readonly roles: readonly Role[];
  /** null = every scope of its roles. */
  readonly scopes: readonly string[] | null;
  /** Queues that a worker may claim from; null = all. */
  readonly queues: readonly string[] | null;
}

export interface TokenRules {
  /** Bytes that a token must have: 32, or 1 where the listener is loopback. */
  readonly tokenBytesMin: number;
}

export const defaultTenant = "default";

const roles: readonly Role[] = ["producer", "worker", "admin"];
const fileFields = new Set([
  "token",
  "tokenSha256",
  "subject",
  "tenantId",
  "roles",
  "scopes",
  "eventTypes",
]);
const tenantForm = /^[a-z0-9][a-z0-9-]{0,62}$/u;
const queueForm = /^[A-Za-z0-9._:-]{1,128}$/u;
const nameForm = /^[^\p{Cc}]{1,128}$/u;
const sha256Form = /^[0-9a-f]{64}$/u;
/** What an Authorization header can carry. */
const tokenForm = /^[\x21-\x7e]+$/u;

type Fields = Readonly<Record<string, unknown>>;

/**
 * The entries of a tokens file whose text was parsed already.
 * @throws QueueError invalid_argument, naming entry and field
 */
export function parseTokensFile(value: unknown, rules: TokenRules): TokenEntry[] {
  if (!Array.isArray(value)) throw invalid("tokens file", "must be a list of tokens");
  if (value.length > limits.tokens) {
    throw invalid("tokens file", `must have at most ${limits.tokens} entries`);
  }
  return value.map((entry: unknown, i) => parseFileEntry(entry, `tokens[${i}]`, rules));
}

function parseFileEntry(value: unknown, where: string, rules: TokenRules): TokenEntry {
  const fields = toFields(value, where);
  for (const name of Object.keys(fields)) {
    if (!fileFields.has(name)) throw invalid(`${where}.${name}`, "is not a known field");
  }
  const entryRoles = parseTexts(fields["roles"], `${where}.roles`);
  if (entryRoles === null || entryRoles.length === 0) {
    throw invalid(`${where}.roles`, "is required: one or more of producer, worker, admin");
  }
  const { token, tokenSha256 } = fields;
  if ((token === undefined) === (tokenSha256 === undefined)) {
    throw invalid(where, "must have exactly one of token and tokenSha256");
  }
  return {
    sha256:
      token === undefined
        ? parseSha256(tokenSha256, `${where}.tokenSha256`)
        : hashOfToken(token, `${where}.token`, rules),
    subject: parseSubject(fields["subject"], `${where}.subject`),
    tenant: parseTenant(fields["tenantId"], `${where}.tenantId`),
    roles: entryRoles.map((role, i) => parseRole(role, `${where}.roles[${i}]`)),
    scopes: parseTexts(fields["scopes"], `${where}.scopes`),
    queues: parseQueues(fields["eventTypes"], `${where}.eventTypes`),
  };
}

/**
 * The token of PRODUCER_AUTH_CONFIG or WORKER_AUTH_CONFIG; fields that codeQ knows and we do not
 * are ignored. `raw.role` ADMIN makes it an admin's as well.
 * @param where - the variable's name, for errors
 * @throws QueueError invalid_argument, naming variable and field
 */
export function parseCodeqToken(
  role: "producer" | "worker",
  value: unknown,
  where: string,
  rules: TokenRules,
): TokenEntry {
  const fields = toFields(value, where);
  const raw = fields["raw"] === undefined ? {} : toFields(fields["raw"], `${where}.raw`);
  const isAdmin = typeof raw["role"] === "string" && raw["role"].toUpperCase() === "ADMIN";
  return {
    sha256: hashOfToken(fields["token"], `${where}.token`, rules),
    subject: parseSubject(fields["subject"] ?? role, `${where}.subject`),
    tenant: parseTenant(raw["tenantId"], `${where}.raw.tenantId`),
    roles: isAdmin ? [role, "admin"] : [role],
    scopes: parseTexts(fields["scopes"], `${where}.scopes`),
    queues: parseQueues(fields["eventTypes"], `${where}.eventTypes`),
  };
}

/** SHA-256 of a token's text. */
export function sha256OfToken(token: string): Buffer {
  return createHash("sha256").update(token, "utf8").digest();
}

function hashOfToken(value: unknown, where: string, rules: TokenRules): Buffer {
  if (typeof value !== "string" || !tokenForm.test(value)) {
    throw invalid(where, "must be a text of printable ASCII characters without spaces");
  }
  if (value.length < rules.tokenBytesMin) {
    throw invalid(where, `must have at least ${rules.tokenBytesMin} bytes`);
  }
  if (value.length > limits.tokenBytes) {
    throw invalid(where, `must have at most ${limits.tokenBytes} bytes`);
  }
  return sha256OfToken(value);
}

function parseSha256(value: unknown, where: string): Buffer {
  if (typeof value !== "string" || !sha256Form.test(value)) {
    throw invalid(where, "must be 64 lower-case hex digits");
  }
  return Buffer.from(value, "hex");
}

function parseSubject(value: unknown, where: string): string {
  if (typeof value !== "string" || !nameForm.test(value)) {
    throw invalid(where, "must be a text of 1 to 128 characters");
  }
  return value;
}

function parseTenant(value: unknown, where: string): string {
  if (value === undefined) return defaultTenant;
  if (typeof value !== "string" || !tenantForm.test(value)) {
    throw invalid(where, "must be of the form [a-z0-9][a-z0-9-]{0,62}");
  }
  return value;
}

function parseRole(value: string, where: string): Role {
  const role = roles.find((one) => one === value);
  if (role === undefined) throw invalid(where, "must be one of producer, worker, admin");
  return role;
}

function parseQueues(value: unknown, where: string): readonly string[] | null {
  const queues = parseTexts(value, where);
  if (queues?.includes("*") !== false) return null;
  for (const [i, queue] of queues.entries()) {
    if (!queueForm.test(queue)) {
      throw invalid(`${where}[${i}]`, "must be a queue name ([A-Za-z0-9._:-]{1,128}) or *");
    }
  }
  return queues;
}

/** A list of texts, or null where the field is absent. */
function parseTexts(value: unknown, where: string): readonly string[] | null {
  if (value === undefined) return null;
  if (!Array.isArray(value) || value.length > limits.claimQueues) {
    throw invalid(where, `must be a list of at most ${limits.claimQueues} texts`);
  }
  return value.map((text: unknown, i) => {
    if (typeof text !== "string" || !nameForm.test(text)) {
      throw invalid(`${where}[${i}]`, "must be a text of 1 to 128 characters");
    }
    return text;
  });
}

function toFields(value: unknown, where: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(where, "must be an object");
  }
  return value as Fields;
}

/** The rule that a field breaks. Its value stays out of the text: it may be a secret. */
function invalid(where: string, rule: string): QueueError {
  return new QueueError("invalid_argument", `${where} ${rule}`, { field: where });
}
