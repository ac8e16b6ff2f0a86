/** The command line: everything but running a node, which `local` commands do. */
import { readFileSync } from "node:fs";
import { isJson, runProgram } from "./program.ts";
import type { LocalCommand } from "./register-local.ts";
import { createTerminal } from "./terminal.ts";

/**
 * Runs a command to its end and leaves its exit code to the process.
 * @param argv - everything after the program's name
 * @param local - commands of the node, which read their own flags
 */
export async function runCli(
  argv: readonly string[],
  local: readonly LocalCommand[],
): Promise<void> {
  const hasColor = !argv.includes("--no-color") && !isJson(argv);
  const terminal = createTerminal(hasColor);
  process.exitCode = await runProgram(argv, terminal, local, packageVersion());
}

/** The version in package.json, which lies two folders up from src/cli and from dist/cli. */
function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(text) as { readonly version: string };
  return version;
}
