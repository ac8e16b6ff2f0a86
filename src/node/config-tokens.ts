/**
 * Reads the tokens that a configuration names: the tokens file and codeQ's two variables. What an
 * entry may hold is decided by auth/.
 */
import type { TokenEntry, TokenRules } from "../auth/token-entries.ts";
import { parseCodeqToken, parseTokensFile } from "../auth/token-entries.ts";
import { QueueError } from "../base/errors.ts";
import type { Config, ConfigFiles } from "./config.ts";
import { ConfigError, isOpenToOthers } from "./config.ts";
import { isLoopbackOnly } from "./config-rules.ts";
import { parseYaml } from "./config-sources.ts";

/** Bytes that guessing cannot reach; one is enough where only this machine can ask. */
const tokenBytesMin = 32;

/**
 * All tokens that are configured; empty if none are. Called at start and on SIGHUP.
 * @throws ConfigError: the file is missing, open to others, not a list or empty; an entry is
 * malformed, or its token too short for a listener beyond loopback
 */
export function loadTokens(config: Config, files: ConfigFiles): readonly TokenEntry[] {
  const { tokensFile, producerConfig, workerConfig } = config.auth;
  const rules = { tokenBytesMin: isLoopbackOnly(config) ? 1 : tokenBytesMin };
  const problems: string[] = [];
  const tokens: TokenEntry[] = [];
  if (producerConfig !== null) {
    take(tokens, problems, "", () => [
      parseCodeqToken("producer", producerConfig, "auth.producerConfig", rules),
    ]);
  }
  if (workerConfig !== null) {
    take(tokens, problems, "", () => [
      parseCodeqToken("worker", workerConfig, "auth.workerConfig", rules),
    ]);
  }
  if (tokensFile !== "") {
    const where = `auth.tokensFile: ${tokensFile}: `;
    take(tokens, problems, where, () => readTokensFile(tokensFile, files, rules));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return tokens;
}

/** Adds what `read` gives, or its failure to the problems. */
function take(
  tokens: TokenEntry[],
  problems: string[],
  where: string,
  read: () => readonly TokenEntry[],
): void {
  try {
    tokens.push(...read());
  } catch (error) {
    if (!(error instanceof QueueError) && !(error instanceof ConfigError)) throw error;
    problems.push(`${where}${error.message}`);
  }
}

function readTokensFile(path: string, files: ConfigFiles, rules: TokenRules): TokenEntry[] {
  let source: string;
  let mode: number;
  try {
    source = files.read(path);
    mode = files.mode(path);
  } catch (error) {
    throw new ConfigError([error instanceof Error ? error.message : String(error)]);
  }
  if (isOpenToOthers(mode)) throw new ConfigError(["is open to every user; chmod 600 it"]);
  const problems: string[] = [];
  const list = parseYaml(source, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  if (!Array.isArray(list) || list.length === 0) {
    throw new ConfigError(["must be a list of at least one token"]);
  }
  return parseTokensFile(list, rules);
}
