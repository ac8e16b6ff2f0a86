/**
 * Where the server is and with which token: flags, then the environment, then the profile, then a
 * node on this machine. A token is never taken from a flag: command lines are seen by everybody.
 */
import { CliError, cliExitCodes, dataError, usageError } from "./exit-codes.ts";
import { readToken } from "./inputs.ts";
import { type Profile, Profiles } from "./profiles.ts";
import type { Terminal } from "./terminal.ts";

export interface ConnectionFlags {
  readonly http?: string;
  readonly grpc?: string;
  readonly tokenFile?: string;
  readonly profile?: string;
  /** Seconds, as text. */
  readonly timeout?: string;
}

export interface Connection {
  readonly http: string;
  readonly grpc: string;
  /** "" = none */
  readonly token: string;
  readonly timeoutMs: number;
}

const defaultHttp = "http://127.0.0.1:8080";
const defaultGrpc = "127.0.0.1:9092";
const defaultTimeoutSeconds = 10;
const timeoutSecondsMax = 3600;

/** @throws CliError usage, config, noInput */
export async function resolveConnection(
  terminal: Terminal,
  flags: ConnectionFlags,
): Promise<Connection> {
  const { env } = terminal;
  const profiles = new Profiles(env);
  const name = flags.profile ?? (env["QUORUMQ_PROFILE"] || profiles.current());
  const profile = name === undefined ? {} : profiles.read(name);
  return {
    http: flags.http ?? (env["QUORUMQ_HTTP"] || (profile.http ?? defaultHttp)),
    grpc: flags.grpc ?? (env["QUORUMQ_GRPC"] || (profile.grpc ?? defaultGrpc)),
    token: await tokenOf(terminal, flags, profile),
    timeoutMs:
      parseSeconds("--timeout", flags.timeout ?? `${defaultTimeoutSeconds}`, {
        least: 0.001,
        most: timeoutSecondsMax,
      }) * 1000,
  };
}

async function tokenOf(
  terminal: Terminal,
  flags: ConnectionFlags,
  profile: Profile,
): Promise<string> {
  const { env } = terminal;
  if (flags.tokenFile !== undefined) return readToken(terminal, flags.tokenFile);
  const text = env["QUORUMQ_TOKEN"] ?? "";
  const file = env["QUORUMQ_TOKEN_FILE"] ?? "";
  if (text !== "" && file !== "") {
    const rule = "QUORUMQ_TOKEN and QUORUMQ_TOKEN_FILE: set one of them";
    throw new CliError(cliExitCodes.config, "config", rule);
  }
  if (text !== "") return text;
  if (file !== "") return readToken(terminal, file);
  if (profile.token !== undefined) return profile.token;
  return profile.tokenFile === undefined ? "" : readToken(terminal, profile.tokenFile);
}

export interface Range {
  readonly least: number;
  readonly most: number;
}

/** A number of seconds, fractions allowed. @throws CliError usage */
export function parseSeconds(flag: string, text: string, { least, most }: Range): number {
  const value = /^\d+(\.\d+)?$/u.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw usageError(`${flag}: seconds, ${least}..${most}`);
}

/** A whole number. @throws CliError usage */
export function parseCount(flag: string, text: string, { least, most }: Range): number {
  const value = /^\d{1,15}$/u.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw usageError(`${flag}: a whole number, ${least}..${most}`);
}

const queueForm = /^[A-Za-z0-9._:-]{1,128}$/u;

/** @throws CliError data */
export function parseQueue(text: string): string {
  if (queueForm.test(text)) return text;
  throw dataError(`queue ${JSON.stringify(text.slice(0, 40))}: must be [A-Za-z0-9._:-]{1,128}`);
}
