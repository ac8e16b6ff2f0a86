/**
 * Which node to talk to: the configured endpoints in turn, then nodes that the cluster named itself
 * and that were not configured. Only these ever get the token.
 */
import { limits } from "../base/limits.ts";
import { QuorumQError } from "./errors.ts";

const hostAndPort = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/u;

/**
 * Reads "host:port" or a list of it (an array, or one text with commas).
 * @throws QuorumQError invalid_argument
 */
export function parseEndpoints(endpoints: string | readonly string[]): readonly string[] {
  const texts = typeof endpoints === "string" ? endpoints.split(",") : endpoints;
  const parsed = texts.map((text) => parseEndpoint(text.trim()));
  if (parsed.length === 0 || parsed.length > limits.shards) {
    throw new QuorumQError("invalid_argument", `endpoints: 1 to ${limits.shards} are needed`);
  }
  return [...new Set(parsed)];
}

function parseEndpoint(text: string): string {
  const port = Number(hostAndPort.exec(text)?.[1] ?? 0);
  if (port < 1 || port > 65_535) {
    throw new QuorumQError("invalid_argument", `endpoints: "${text}" is not host:port`);
  }
  return text;
}

export interface Endpoints {
  /** Endpoints known now, 1 or more. */
  readonly count: number;
  /** The next one to try. */
  next(): string;
  /** Replaces what the cluster said of itself: the addresses of its nodes. */
  learn(addresses: readonly string[]): void;
  /** Makes a known endpoint the next one. @returns false when it is unknown */
  prefer(endpoint: string): boolean;
}

/** @param start - 0 ≤ x < 1: where in the list to begin, so that clients spread */
export function createEndpoints(configured: readonly string[], start: number): Endpoints {
  let known = configured;
  let last = "";
  let following = configured[Math.floor(start * configured.length)] ?? "";
  return {
    get count() {
      return known.length;
    },
    next() {
      // By name: the list may have changed since, and the last one shall not be the next one.
      const after = known[(known.indexOf(last) + 1) % known.length] ?? "";
      last = following === "" ? after : following;
      following = "";
      return last;
    },
    learn(addresses) {
      const learned = addresses.filter((address) => hostAndPort.test(address));
      known = [...new Set([...configured, ...learned.slice(0, limits.shards)])];
    },
    prefer(endpoint) {
      if (!known.includes(endpoint)) return false;
      following = endpoint;
      return true;
    },
  };
}
