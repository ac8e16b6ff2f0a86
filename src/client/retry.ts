/**
 * What the SDK does after a failure: the retry column of the one error table, read in one place for
 * both transports.
 */
import { errorCodes } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { type ClientErrorCode, isErrorCode } from "./errors.ts";

/** `give up`: tell the caller; `later`: wait, then anywhere; `elsewhere`: at the leader, or next. */
export type NextTry = "give up" | "later" | "elsewhere";

export interface FailedTry {
  readonly code: ClientErrorCode;
  /** Tries so far, this one included: 1 or more. */
  readonly tries: number;
  /** Doing it twice does no harm: it reads, has a key, a run id or a lease token. */
  readonly isRepeatable: boolean;
}

export function nextTry({ code, tries, isRepeatable }: FailedTry): NextTry {
  // An election is over sooner: who still knows no leader is cut off, and others may know one.
  if (code === "no_leader" && tries >= limits.clientNoLeaderTries) return "elsewhere";
  // A full disk may pass, but is for the caller to know.
  if (!isErrorCode(code) || code === "insufficient_storage") return "give up";
  switch (errorCodes[code].retry) {
    case "never":
      return "give up";
    case "there":
    case "elsewhere":
      return "elsewhere";
    case "later":
      return "later";
    case "once":
      return isRepeatable && tries < 2 ? "later" : "give up";
    case "yes":
      return isRepeatable ? "later" : "give up";
  }
}

/** Whether what failed so may have been done all the same. */
export function leavesDoubt(code: ClientErrorCode): boolean {
  return code === "unknown_outcome" || code === "timeout" || code === "internal";
}
