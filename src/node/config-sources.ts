/**
 * Where configuration values come from: a YAML file, the environment, flags. Collects raw values
 * per key, with their origins; what cannot belong to any key becomes a problem. Pure.
 */
import { parseArgs } from "node:util";
import { parseDocument } from "yaml";
import type { ConfigKey } from "./config-keys.ts";
import { configKeyNames, envName, isConfigKey, rowOf } from "./config-keys.ts";
import { parseJson, ValueError } from "./config-kinds.ts";

/** One value for one key, not yet parsed. */
export interface Given {
  readonly key: ConfigKey;
  readonly raw: unknown;
  /** text: from environment or flag; yaml: a typed value. */
  readonly form: "text" | "yaml";
  /** For people: `env PORT`, `flag --http.port`, `file quorumq.yaml`. */
  readonly origin: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const prefix = "QUORUMQ_";
/** Names with the prefix that are no key: the file's, and those of the command line (cli/). */
export const otherNames: ReadonlySet<string> = new Set([
  "QUORUMQ_CONFIG",
  "QUORUMQ_HTTP",
  "QUORUMQ_GRPC",
  "QUORUMQ_TOKEN",
  "QUORUMQ_TOKEN_FILE",
  "QUORUMQ_PROFILE",
  "QUORUMQ_PROFILES",
]);
const persistenceKeys: Readonly<Record<string, ConfigKey>> = {
  path: "storage.path",
  numShards: "storage.numShards",
};

/** What reading a configuration needs of the disk. All throw Errors with a text for people. */
export interface ConfigFiles {
  /** A file's text; at most limits.configFileBytes. */
  read(path: string): string;
  /** Permission bits of a file. */
  mode(path: string): number;
  exists(path: string): boolean;
}

/** Flags of the command line. */
export interface Flags {
  readonly given: readonly Given[];
  /** Value of --config. */
  readonly configFile: string | undefined;
}

/** Reads `--<key> value`, `--<key>=value` and, for switches, `--<key>`. */
export function readFlags(argv: readonly string[], problems: string[]): Flags {
  const options: Record<string, { type: "string" | "boolean" }> = { config: { type: "string" } };
  for (const name of configKeyNames) {
    options[name] = { type: rowOf(name).kind.isSwitch ? "boolean" : "string" };
  }
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true });
  const given: Given[] = [];
  const seen = new Set<string>();
  let isAfterUnknown = false;
  let configFile: string | undefined;
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      // what follows an unknown flag is its value, most likely
      if (!isAfterUnknown) problems.push(`${quote(token.value)}: not a flag; flags are --<key>`);
      isAfterUnknown = false;
      continue;
    }
    const { name, rawName } = token;
    const isKnown = isConfigKey(name) || name === "config";
    const value = token.value ?? (isConfigKey(name) && rowOf(name).kind.isSwitch ? "true" : null);
    isAfterUnknown = !isKnown;
    if (!isKnown) problems.push(`${quote(rawName)}: unknown configuration key`);
    else if (seen.has(name)) problems.push(`${rawName}: given twice`);
    else if (value === null) problems.push(`${rawName}: needs a value`);
    else if (!isConfigKey(name)) configFile = value;
    else if (rowOf(name).isSecret) {
      problems.push(`${rawName}: secrets come from the environment or a file, not from a flag`);
    } else given.push({ key: name, raw: value, form: "text", origin: `flag --${name}` });
    seen.add(name);
  }
  return { given, configFile };
}

/**
 * Reads every key's environment names. Empty values count as unset, as compose files write them.
 * A key's names that are all set are all in the list: they must agree.
 */
export function readEnvironment(env: Environment, problems: string[]): readonly Given[] {
  const given: Given[] = [];
  const known = new Set(otherNames);
  for (const key of configKeyNames) {
    const row = rowOf(key);
    known.add(envName(key));
    const set = row.aliases.filter((name) => (env[name] ?? "") !== "");
    const own = env[envName(key)] ?? "";
    if (own !== "") given.push({ key, raw: own, form: "text", origin: `env ${envName(key)}` });
    if (row.joinsAliases && set.length > 0) {
      const parts = new Set(set.map((name) => env[name]));
      given.push({ key, raw: [...parts].join(","), form: "text", origin: `env ${set.join(", ")}` });
      continue;
    }
    for (const name of set)
      given.push({ key, raw: env[name], form: "text", origin: `env ${name}` });
  }
  given.push(...readPersistence(env["PERSISTENCE_CONFIG"] ?? "", problems));
  for (const name of Object.keys(env)) {
    const isOurs = name.startsWith(prefix) && !known.has(name);
    if (isOurs) problems.push(`${quote(name)}: unknown environment variable of QuorumQ`);
  }
  return given;
}

/** PERSISTENCE_CONFIG: {"path", "numShards"} */
function readPersistence(value: string, problems: string[]): readonly Given[] {
  if (value === "") return [];
  const rule = 'must be a JSON object {"path", "numShards"}';
  let parsed: unknown;
  try {
    parsed = parseJson(value, rule);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    problems.push(`PERSISTENCE_CONFIG: ${error.message}`);
    return [];
  }
  if (!isMap(parsed)) {
    problems.push(`PERSISTENCE_CONFIG: ${rule}`);
    return [];
  }
  const given: Given[] = [];
  for (const [field, raw] of Object.entries(parsed)) {
    const key = Object.hasOwn(persistenceKeys, field) ? persistenceKeys[field] : undefined;
    if (key === undefined) problems.push(`PERSISTENCE_CONFIG: unknown field ${quote(field)}`);
    else given.push({ key, raw, form: "yaml", origin: "env PERSISTENCE_CONFIG" });
  }
  return given;
}

/** Reads the keys of a YAML text: groups as maps, `routing` and its like at the top. */
export function readYaml(source: string, name: string, problems: string[]): readonly Given[] {
  const faults: string[] = [];
  const parsed = parseYaml(source, faults);
  problems.push(...faults.map((fault) => `${name}: ${fault}`));
  if (parsed === null || parsed === undefined) return [];
  if (!isMap(parsed)) {
    problems.push(`${name}: must be a map of configuration keys`);
    return [];
  }
  const given: Given[] = [];
  const origin = `file ${name}`;
  for (const [group, inner] of Object.entries(parsed)) {
    if (isConfigKey(group)) {
      if (group.includes(".")) problems.push(`${group}: write it as a map in a map (${origin})`);
      else given.push({ key: group, raw: inner, form: "yaml", origin });
    } else if (!configKeyNames.some((key) => key.startsWith(`${group}.`))) {
      problems.push(`${quote(group)}: unknown configuration key (${origin})`);
    } else if (!isMap(inner)) {
      problems.push(`${group}: must be a map of keys (${origin})`);
    } else {
      for (const [rest, raw] of Object.entries(inner)) {
        const key = `${group}.${rest}`;
        if (isConfigKey(key)) given.push({ key, raw, form: "yaml", origin });
        else problems.push(`${quote(key)}: unknown configuration key (${origin})`);
      }
    }
  }
  return given;
}

/** The document of a YAML or JSON text; undefined, and problems, if it is none. */
export function parseYaml(source: string, problems: string[]): unknown {
  const document = parseDocument(source, { prettyErrors: false, stringKeys: true });
  const faults = [...document.errors, ...document.warnings];
  if (faults.length === 0) {
    try {
      // an alias may not blow up the document
      return document.toJS({ maxAliasCount: 10 }) as unknown;
    } catch (error) {
      problems.push(
        `not usable as YAML: ${error instanceof Error ? error.message : String(error)}`,
      );
      return undefined;
    }
  }
  const first = faults[0];
  const line = source.slice(0, first?.pos[0] ?? 0).split("\n").length;
  problems.push(`not valid YAML at line ${line} (${first?.code ?? "?"})`);
  return undefined;
}

/** A name or value from outside, printable in one line. */
export function quote(value: unknown): string {
  const shown = JSON.stringify(value) ?? String(value);
  const plain = shown.replace(/[^\x20-\x7e]/g, "?");
  return plain.length > 80 ? `${plain.slice(0, 77)}...` : plain;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
