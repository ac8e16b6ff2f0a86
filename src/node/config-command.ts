/** `quorumq config`: what is in force and where each value came from. */
import { parseConfig } from "./config.ts";
import { describeKeys, formatConfig } from "./config-print.ts";
import { describeError, exitCodeOf } from "./exit-code.ts";
import { createSystemFiles } from "./system-files.ts";

const usage = `quorumq config [--json] [--config <file>] [--<key> <value> ...]

Prints every configuration key with its value and where it came from; secrets are masked.
Takes the same file, environment and flags as serve:

`;

/** Prints; an unusable configuration is told on standard error, with exit code 78. */
export function runConfig(argv: readonly string[]): void {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(usage + describeKeys());
    return;
  }
  const form = argv.includes("--json") ? "json" : "text";
  const rest = argv.filter((argument) => argument !== "--json");
  try {
    const parsed = parseConfig({ argv: rest, env: process.env, files: createSystemFiles() });
    process.stdout.write(formatConfig(parsed, form));
  } catch (error) {
    for (const line of describeError(error)) console.error(`quorumq: ${line}`);
    process.exitCode = exitCodeOf(error);
  }
}
