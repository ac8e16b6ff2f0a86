/** Base URLs of nodes or of what stands before them. */
import { limits } from "../base/limits.ts";
import { QuorumQError } from "./errors.ts";

/**
 * Reads "http://host:port" or a list of it (an array, or one text with commas).
 * @returns base URLs without a slash at the end, 1 or more
 * @throws QuorumQError invalid_argument
 */
export function parseUrls(endpoints: string | readonly string[]): readonly string[] {
  const texts = typeof endpoints === "string" ? endpoints.split(",") : endpoints;
  const urls = texts.map((text) => {
    const trimmed = text.trim();
    if (!/^https?:\/\//u.test(trimmed) || !URL.canParse(trimmed)) {
      throw new QuorumQError("invalid_argument", `endpoints: "${trimmed}" is not an http URL`);
    }
    return trimmed.replace(/\/+$/u, "");
  });
  if (urls.length === 0 || urls.length > limits.shards) {
    throw new QuorumQError("invalid_argument", `endpoints: 1 to ${limits.shards} are needed`);
  }
  return urls;
}
