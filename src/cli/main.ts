/** The command line apart from running a node: help, version, and what is no command. */
import { readFileSync } from "node:fs";

const help = `usage: quorumq <command> [flags]

  serve     run a node
  config    print the configuration in force and where each value came from

  <command> --help says more; --version prints the version
`;

/** Exit code for a command line that is not understood (sysexits EX_USAGE). */
const usageExitCode = 64;

/** @param argv - everything after the program's name */
export function runCli(argv: readonly string[]): void {
  const [command] = argv;
  if (command === "--help" || command === "-h") {
    process.stdout.write(help);
  } else if (command === "--version" || command === "-v") {
    process.stdout.write(`${packageVersion()}\n`);
  } else {
    if (command !== undefined)
      console.error(`quorumq: ${JSON.stringify(command)}: no such command\n`);
    process.stderr.write(help);
    process.exitCode = usageExitCode;
  }
}

/** The version in package.json, which lies two folders up from src/cli and from dist/cli. */
function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(text) as { readonly version: string };
  return version;
}
