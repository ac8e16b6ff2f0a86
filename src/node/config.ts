/**
 * Configuration: defaults < YAML file < environment < flags (SPEC sections 5 and 7). Pure: argv,
 * environment and files come in, a checked configuration or a list of problems goes out.
 */
import type { Config, ConfigKey } from "./config-keys.ts";
import { configKeyNames, rowOf } from "./config-keys.ts";
import { ValueError } from "./config-kinds.ts";
import { crossChecks } from "./config-rules.ts";
import type { ConfigFiles, Environment, Given } from "./config-sources.ts";
import { quote, readEnvironment, readFlags, readYaml } from "./config-sources.ts";

export type { Config } from "./config-keys.ts";
export type { ConfigFiles } from "./config-sources.ts";

export interface ConfigSources {
  /** Arguments after the sub-command. */
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly files: ConfigFiles;
}

export interface ParsedConfig {
  readonly config: Config;
  /** Per key where its value came from: `default`, `file x.yaml`, `env PORT`, `flag --http.port`. */
  readonly origins: Readonly<Record<ConfigKey, string>>;
}

/** The configuration cannot be used; one line per problem, each naming its key and rule. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** @throws ConfigError with all problems found */
export function parseConfig(sources: ConfigSources): ParsedConfig {
  const problems: string[] = [];
  const flags = readFlags(sources.argv, problems);
  const fromEnv = readEnvironment(sources.env, problems);
  const path = flags.configFile ?? (sources.env["QUORUMQ_CONFIG"] || undefined);
  const fromFile = path === undefined ? [] : readConfigFile(path, sources.files, problems);

  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  for (const name of configKeyNames) {
    values[name] = rowOf(name).standard;
    origins[name] = "default";
  }
  // later layers win; inside one layer all values of a key must agree
  for (const layer of [fromFile, fromEnv, flags.given]) takeLayer(layer, values, origins, problems);
  if (problems.length > 0) throw new ConfigError(problems);

  const config = nest(values);
  const broken = crossChecks(config, sources.files);
  if (broken.length > 0) throw new ConfigError(broken);
  return { config, origins: origins as Readonly<Record<ConfigKey, string>> };
}

function takeLayer(
  layer: readonly Given[],
  values: Record<string, unknown>,
  origins: Record<string, string>,
  problems: string[],
): void {
  const taken = new Map<ConfigKey, { readonly shown: string; readonly origin: string }>();
  for (const given of layer) {
    const { key, origin } = given;
    const value = parseValue(given, problems);
    if (value === undefined) continue;
    const shown = rowOf(key).kind.show(value);
    const before = taken.get(key);
    if (before === undefined) {
      taken.set(key, { shown, origin });
      values[key] = value;
      origins[key] = origin;
    } else if (before.shown !== shown) {
      problems.push(`${key}: ${before.origin} and ${origin} differ; set one of them`);
    }
  }
}

/** The value, or undefined and a problem. */
function parseValue(given: Given, problems: string[]): unknown {
  const row = rowOf(given.key);
  try {
    if (given.form === "yaml") return row.kind.fromYaml(given.raw);
    return row.kind.fromText(String(given.raw));
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    const not = row.isSecret ? "" : `, not ${quote(given.raw)}`;
    problems.push(`${given.key}: must be ${error.message}${not} (${given.origin})`);
    return undefined;
  }
}

function readConfigFile(path: string, files: ConfigFiles, problems: string[]): readonly Given[] {
  let source: string;
  let mode: number;
  try {
    source = files.read(path);
    mode = files.mode(path);
  } catch (error) {
    problems.push(`config: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
  const given = readYaml(source, path, problems);
  const secret = given.find((item) => rowOf(item.key).isSecret);
  if (secret !== undefined && isOpenToOthers(mode)) {
    problems.push(`${secret.key}: ${path} is readable by every user; chmod 600 it`);
  }
  return given;
}

/** Whether users who are neither the owner nor of the group may read or change a file. */
export function isOpenToOthers(mode: number): boolean {
  return (mode & 0o007) !== 0;
}

function nest(values: Readonly<Record<string, unknown>>): Config {
  const config: Record<string, unknown> = {};
  for (const name of configKeyNames) {
    const at = name.indexOf(".");
    if (at < 0) {
      config[name] = values[name];
      continue;
    }
    const group = (config[name.slice(0, at)] ?? {}) as Record<string, unknown>;
    group[name.slice(at + 1)] = values[name];
    config[name.slice(0, at)] = group;
  }
  return config as Config;
}
