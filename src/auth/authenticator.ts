/**
 * Who a caller is and what it may do. Deny by default: a role comes from the route or stream, and
 * a token that does not have it is refused.
 *
 * Tokens are compared as SHA-256 hashes, with all entries, without an early exit, so the time an
 * answer takes says nothing about the tokens there are.
 */
import { timingSafeEqual } from "node:crypto";
import { QueueError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { defaultTenant, type Role, sha256OfToken, type TokenEntry } from "./token-entries.ts";

/** codeQ's names of what a worker, and an admin, may do (SPEC section 7). */
export type Scope =
  | "codeq:claim"
  | "codeq:heartbeat"
  | "codeq:abandon"
  | "codeq:nack"
  | "codeq:result"
  | "codeq:admin";

/** A caller whose token is known, in the role it asked for. */
export interface Identity {
  readonly tenant: string;
  readonly subject: string;
  /** Queues it may claim from; null = all. */
  readonly queues: ReadonlySet<string> | null;
  hasRole(role: Role): boolean;
  can(scope: Scope): boolean;
  mayClaim(queue: string): boolean;
}

export interface Authenticator {
  /**
   * @param token - the token's text, or null if the caller gave none
   * @param role - the role the route asks for; "any" = a known token is enough
   * @throws QueueError unauthenticated (no token, unknown token), permission_denied (no such role)
   */
  authenticate(token: string | null, role: Role | "any"): Identity;
  /** Takes the place of all tokens from the next call on. @throws as createAuthenticator */
  replace(tokens: readonly TokenEntry[]): void;
}

export interface AuthenticatorOptions {
  readonly tokens: readonly TokenEntry[];
  /**
   * Every listener is on loopback: while there are no tokens, everybody is `anonymous`, in all
   * roles. The first token ends that.
   */
  readonly open: boolean;
  /** codeQ's ALLOW_PRODUCER_AS_WORKER: a producer's token is a worker's as well. */
  readonly producerAsWorker: boolean;
}

/** @throws QueueError invalid_argument when two entries of one token contradict each other */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  return new TokenAuthenticator(options);
}

class TokenAuthenticator implements Authenticator {
  private readonly open: TokenIdentity | null;
  private readonly producerAsWorker: boolean;
  private known: readonly TokenIdentity[];

  constructor(options: AuthenticatorOptions) {
    this.open = options.open ? anonymous() : null;
    this.producerAsWorker = options.producerAsWorker;
    this.known = this.build(options.tokens);
  }

  authenticate(token: string | null, role: Role | "any"): Identity {
    if (this.open !== null && this.known.length === 0) return this.open;
    if (token === null || token === "" || token.length > limits.tokenBytes) {
      throw new QueueError("unauthenticated", "a bearer token is required");
    }
    const hash = sha256OfToken(token);
    let found: TokenIdentity | null = null;
    let isKnown = false;
    for (const one of this.known) {
      // Invariant: every entry is compared, whatever was found before.
      if (!timingSafeEqual(hash, one.sha256)) continue;
      isKnown = true;
      if (found === null && (role === "any" || one.hasRole(role))) found = one;
    }
    if (found !== null) return found;
    if (isKnown) throw new QueueError("permission_denied", `the token has no role ${role}`);
    throw new QueueError("unauthenticated", "the token is not known");
  }

  replace(tokens: readonly TokenEntry[]): void {
    this.known = this.build(tokens);
  }

  private build(tokens: readonly TokenEntry[]): TokenIdentity[] {
    checkEntries(tokens);
    const own = tokens.map((entry) => new TokenIdentity(entry));
    if (!this.producerAsWorker) return own;
    // Behind the others: a token that has a worker's entry of its own keeps that.
    const added = tokens
      .filter((entry) => entry.roles.includes("producer") && !entry.roles.includes("worker"))
      .map((entry) => new TokenIdentity({ ...entry, roles: ["worker"] }));
    return [...own, ...added];
  }
}

class TokenIdentity implements Identity {
  readonly sha256: Buffer;
  readonly tenant: string;
  readonly subject: string;
  readonly queues: ReadonlySet<string> | null;
  private readonly roles: readonly Role[];
  private readonly scopes: ReadonlySet<string> | null;

  constructor(entry: TokenEntry) {
    this.sha256 = entry.sha256;
    this.tenant = entry.tenant;
    this.subject = entry.subject;
    this.queues = entry.queues === null ? null : new Set(entry.queues);
    const isAdmin = entry.scopes?.includes("codeq:admin") && !entry.roles.includes("admin");
    this.roles = isAdmin ? [...entry.roles, "admin"] : entry.roles;
    this.scopes = entry.scopes === null ? null : new Set(entry.scopes);
  }

  hasRole(role: Role): boolean {
    return this.roles.includes(role);
  }

  can(scope: Scope): boolean {
    if (scope === "codeq:admin") return this.hasRole("admin");
    return this.hasRole("worker") && (this.scopes === null || this.scopes.has(scope));
  }

  mayClaim(queue: string): boolean {
    return this.queues === null || this.queues.has(queue);
  }
}

function anonymous(): TokenIdentity {
  return new TokenIdentity({
    sha256: Buffer.alloc(32),
    subject: "anonymous",
    tenant: defaultTenant,
    roles: ["producer", "worker", "admin"],
    scopes: null,
    queues: null,
  });
}

/** One token may stand in two entries, for two roles; they must agree on the tenant. */
function checkEntries(tokens: readonly TokenEntry[]): void {
  if (tokens.length > limits.tokens) {
    throw new QueueError("invalid_argument", `more than ${limits.tokens} tokens`);
  }
  const seen = new Map<string, TokenEntry>();
  for (const [i, entry] of tokens.entries()) {
    const key = entry.sha256.toString("latin1");
    const other = seen.get(key);
    if (other === undefined) {
      seen.set(key, entry);
      continue;
    }
    const subjects = `(subjects ${other.subject} and ${entry.subject})`;
    const place = `token ${i + 1}`;
    if (other.tenant !== entry.tenant) {
      const text = `${place}: one token for two tenants ${subjects}`;
      throw new QueueError("invalid_argument", text);
    }
    if (entry.roles.some((role) => role !== "admin" && other.roles.includes(role))) {
      const text = `${place}: one token twice in the same role ${subjects}`;
      throw new QueueError("invalid_argument", text);
    }
  }
}
