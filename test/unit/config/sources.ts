/** A configuration's world in memory: flags, environment, files with modes. */
import {
  ConfigError,
  type ConfigFiles,
  type ParsedConfig,
  parseConfig,
} from "../../../src/node/config.ts";

export interface World {
  readonly argv?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Path to text; "!" before the path makes the file readable by all. */
  readonly files?: Readonly<Record<string, string>>;
}

export function filesOf(files: Readonly<Record<string, string>>): ConfigFiles {
  const text = (path: string) => files[path] ?? files[`!${path}`];
  return {
    read: (path) => {
      const found = text(path);
      if (found === undefined) throw new Error(`${path}: no such file`);
      return found;
    },
    mode: (path) => (files[`!${path}`] === undefined ? 0o600 : 0o644),
    exists: (path) => text(path) !== undefined,
  };
}

export function parse(world: World): ParsedConfig {
  const { argv = [], env = {}, files = {} } = world;
  return parseConfig({ argv, env, files: filesOf(files) });
}

/** The problems of a configuration that must be refused. */
export function problemsOf(world: World): readonly string[] {
  try {
    parse(world);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error("the configuration was taken");
}
