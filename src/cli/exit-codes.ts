/** Exit codes of the commands that talk to a server, after sysexits(3) where it has one. */
import type { ClientErrorCode } from "../client/errors.ts";

export const cliExitCodes = {
  ok: 0,
  /** Something that was asked for did not come about; the text says what. */
  failed: 1,
  notFound: 4,
  /** The server has it otherwise: another request with this key, a task that has ended. */
  conflict: 5,
  usage: 64,
  /** What was given cannot be sent: not JSON, too large, out of range. */
  data: 65,
  noInput: 66,
  unavailable: 69,
  /** A bug of ours. */
  software: 70,
  /** The outcome is unknown: it may or may not have happened. */
  tempFail: 75,
  noPermission: 77,
  /** A profile or a variable of the environment cannot be used. */
  config: 78,
  interrupted: 130,
} as const;

const byCode: Readonly<Record<ClientErrorCode, number>> = {
  invalid_argument: cliExitCodes.data,
  payload_too_large: cliExitCodes.data,
  unsupported_media_type: cliExitCodes.data,
  headers_too_large: cliExitCodes.data,
  method_not_allowed: cliExitCodes.data,
  unauthenticated: cliExitCodes.noPermission,
  permission_denied: cliExitCodes.noPermission,
  not_found: cliExitCodes.notFound,
  idempotency_conflict: cliExitCodes.conflict,
  lease_lost: cliExitCodes.conflict,
  already_settled: cliExitCodes.conflict,
  not_leader: cliExitCodes.unavailable,
  no_leader: cliExitCodes.unavailable,
  overloaded: cliExitCodes.unavailable,
  draining: cliExitCodes.unavailable,
  rate_limited: cliExitCodes.unavailable,
  timeout: cliExitCodes.unavailable,
  insufficient_storage: cliExitCodes.unavailable,
  unknown_outcome: cliExitCodes.tempFail,
  internal: cliExitCodes.software,
  closed: cliExitCodes.software,
  canceled: cliExitCodes.conflict,
};

/** The exit code for an error that the server or the SDK gave. */
export function exitCodeOfCode(code: ClientErrorCode): number {
  return byCode[code];
}

/** A failure of the command line's own: a file, a profile, a flag. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;
  /** What `--json` prints as code. */
  readonly code: string;

  constructor(exitCode: number, code: string, text: string) {
    super(text);
    this.exitCode = exitCode;
    this.code = code;
  }
}

/** A command line that is not understood. */
export function usageError(text: string): CliError {
  return new CliError(cliExitCodes.usage, "usage", text);
}

/** Input that cannot be sent. */
export function dataError(text: string): CliError {
  return new CliError(cliExitCodes.data, "invalid_argument", text);
}
