/**
 * Reads the tokens that a configuration names: the tokens file and codeQ's two variables. Gives
 * raw entries; what an entry may hold is decided by auth/.
 */
import type { Config, ConfigFiles } from "./config.ts";
import { ConfigError, isOpenToOthers } from "./config.ts";
import { isLoopbackOnly } from "./config-rules.ts";
import { parseYaml } from "./config-sources.ts";

const tokenBytesMin = 32;

/** One entry of the tokens file, or one variable of codeQ's. */
export interface RawToken {
  /** For messages: `tokens.yaml entry 3`, `auth.workerConfig`. */
  readonly origin: string;
  /** The role that a codeQ variable stands for; a file's entry names its own roles. */
  readonly codeqRole: "producer" | "worker" | null;
  readonly entry: Readonly<Record<string, unknown>>;
}

/**
 * All tokens that are configured; empty if none are. Called at start and on SIGHUP.
 * @throws ConfigError: the file is missing, open to others, not a list, empty, or a token is short
 */
export function loadTokens(config: Config, files: ConfigFiles): readonly RawToken[] {
  const problems: string[] = [];
  const { tokensFile, producerConfig, workerConfig } = config.auth;
  const tokens: RawToken[] = [];
  if (producerConfig !== null) {
    tokens.push({ origin: "auth.producerConfig", codeqRole: "producer", entry: producerConfig });
  }
  if (workerConfig !== null) {
    tokens.push({ origin: "auth.workerConfig", codeqRole: "worker", entry: workerConfig });
  }
  if (tokensFile !== "") tokens.push(...readTokensFile(tokensFile, files, problems));
  for (const token of tokens) checkLength(token, isLoopbackOnly(config), problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return tokens;
}

function readTokensFile(path: string, files: ConfigFiles, problems: string[]): RawToken[] {
  let source: string;
  let mode: number;
  try {
    source = files.read(path);
    mode = files.mode(path);
  } catch (error) {
    problems.push(`auth.tokensFile: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
  if (isOpenToOthers(mode)) {
    problems.push(`auth.tokensFile: ${path} is open to every user; chmod 600 it`);
  }
  const found: string[] = [];
  const list = parseYaml(source, path, found);
  problems.push(...found.map((text) => `auth.tokensFile: ${text}`));
  if (found.length > 0) return [];
  if (!Array.isArray(list) || list.length === 0) {
    problems.push(`auth.tokensFile: ${path} must be a list of at least one token`);
    return [];
  }
  const tokens: RawToken[] = [];
  for (const [i, entry] of (list as readonly unknown[]).entries()) {
    const origin = `${path} entry ${i + 1}`;
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
      problems.push(`auth.tokensFile: ${origin} must be a map with token or tokenSha256`);
    } else {
      const fields = entry as Readonly<Record<string, unknown>>;
      tokens.push({ origin, codeqRole: null, entry: fields });
    }
  }
  return tokens;
}

function checkLength(token: RawToken, isLoopback: boolean, problems: string[]): void {
  const text = token.entry["token"];
  if (typeof text !== "string") return;
  const bytes = Buffer.byteLength(text);
  if (bytes === 0) problems.push(`${token.origin}: the token is empty`);
  else if (bytes < tokenBytesMin && !isLoopback) {
    problems.push(
      `${token.origin}: a token needs ${tokenBytesMin} bytes with a listener beyond loopback`,
    );
  }
}
