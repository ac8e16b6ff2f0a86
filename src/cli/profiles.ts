/**
 * Profiles: names for a server's addresses and token, kept as one file each, so that two writers of
 * different profiles never meet and two of the same leave one whole file.
 *
 *   $QUORUMQ_PROFILES, or $XDG_CONFIG_HOME/quorumq, or ~/.config/quorumq
 *     profiles/<name>.json   {http?, grpc?, tokenFile?, token?}, mode 0600
 *     current                the name in use
 */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { CliError, cliExitCodes, usageError } from "./exit-codes.ts";

export interface Profile {
  /** URL, or several with commas. */
  readonly http?: string;
  /** host:port, or several with commas. */
  readonly grpc?: string;
  readonly tokenFile?: string;
  readonly token?: string;
}

const fields = ["http", "grpc", "tokenFile", "token"] as const;
const nameForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/u;

export class Profiles {
  private readonly folder: string;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    const config = env["XDG_CONFIG_HOME"] || join(homedir(), ".config");
    this.folder = env["QUORUMQ_PROFILES"] || join(config, "quorumq");
  }

  /** @throws CliError notFound, config */
  read(name: string): Profile {
    const path = this.pathOf(name);
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if (!isMissing(error)) throw configError(`${path}: ${textOf(error)}`);
      throw new CliError(cliExitCodes.config, "config", `profile ${name}: there is none`);
    }
    const profile = parseProfile(text, path);
    if (profile.token !== undefined && (statSync(path).mode & 0o077) !== 0) {
      throw configError(`${path}: holds a token and others may read it; chmod 600`);
    }
    return profile;
  }

  list(): readonly string[] {
    try {
      return readdirSync(join(this.folder, "profiles"))
        .filter((file) => file.endsWith(".json"))
        .map((file) => file.slice(0, -".json".length))
        .sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw configError(textOf(error));
    }
  }

  /** Replaces the profile; a reader sees the old one or the new one. */
  write(name: string, profile: Profile): void {
    const path = this.pathOf(name);
    this.replace(path, `${JSON.stringify(profile, null, 2)}\n`);
  }

  /** @throws CliError config when there is none */
  remove(name: string): void {
    this.read(name);
    rmSync(this.pathOf(name));
    if (this.current() === name) rmSync(join(this.folder, "current"), { force: true });
  }

  /** The profile used where none is named; undefined if none was chosen. */
  current(): string | undefined {
    try {
      return readFileSync(join(this.folder, "current"), "utf8").trim() || undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw configError(textOf(error));
    }
  }

  use(name: string): void {
    this.read(name);
    this.replace(join(this.folder, "current"), `${name}\n`);
  }

  private pathOf(name: string): string {
    if (!nameForm.test(name)) {
      throw usageError(
        `profile ${JSON.stringify(name)}: a name is [A-Za-z0-9][A-Za-z0-9._-]{0,63}`,
      );
    }
    return join(this.folder, "profiles", `${name}.json`);
  }

  private replace(path: string, text: string): void {
    const fresh = `${path}.${process.pid}`;
    try {
      mkdirSync(join(this.folder, "profiles"), { recursive: true, mode: 0o700 });
      writeFileSync(fresh, text, { mode: 0o600 });
      renameSync(fresh, path);
    } catch (error) {
      rmSync(fresh, { force: true });
      throw configError(textOf(error));
    }
  }
}

function parseProfile(text: string, path: string): Profile {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw configError(`${path}: not JSON`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw configError(`${path}: must be a JSON object`);
  }
  for (const [name, value] of Object.entries(parsed)) {
    if (!(fields as readonly string[]).includes(name))
      throw configError(`${path}: unknown field ${name}`);
    if (typeof value !== "string") throw configError(`${path}: ${name}: must be a string`);
  }
  return parsed;
}

function configError(text: string): CliError {
  return new CliError(cliExitCodes.config, "config", text);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
