/** The command line as a whole: what there is, what every command takes, how it ends. */
import tab from "@bomb.sh/tab/commander";
import { Command, CommanderError, Option, type OptionValues } from "commander";
import { CliError, cliExitCodes, usageError } from "./exit-codes.ts";
import { Output } from "./output.ts";
import { registerCluster } from "./register-cluster.ts";
import { type LocalCommand, registerLocal } from "./register-local.ts";
import { registerQueues } from "./register-queues.ts";
import { registerTasks } from "./register-tasks.ts";
import { type GlobalFlags, Session } from "./session.ts";
import type { Terminal } from "./terminal.ts";

/** What a command does: its arguments in order, its flags; gives the exit code. */
export type Action<Flags> = (
  session: Session,
  args: readonly string[],
  flags: Flags & GlobalFlags,
) => Promise<number> | number;

export interface Registry {
  readonly program: Command;
  /** Makes a handler for Commander out of an action. */
  act<Flags extends OptionValues>(action: Action<Flags>): (...given: unknown[]) => Promise<void>;
}

const about = `A durable task queue: one process with its own store, or a cluster of three.

Addresses and token come from flags, then QUORUMQ_HTTP, QUORUMQ_GRPC, and
QUORUMQ_TOKEN or QUORUMQ_TOKEN_FILE, then a profile, then a node on this machine
without a token.`;

const exits = `
Exit codes: 0 done, 1 not done, 4 not found, 5 conflict, 64 usage, 65 bad data, 66 no such file,
69 no server answers, 70 a bug, 75 outcome unknown or not ended yet, 77 no permission, 78 bad
profile or configuration, 130 interrupted.`;

/** @returns the exit code */
export async function runProgram(
  argv: readonly string[],
  terminal: Terminal,
  local: readonly LocalCommand[],
  version: string,
): Promise<number> {
  let exitCode: number = cliExitCodes.ok;
  const program = createRoot(terminal, version);
  const registry: Registry = {
    program,
    act:
      <Flags extends OptionValues>(action: Action<Flags>) =>
      async (...given: unknown[]) => {
        const command = given.at(-1);
        if (!(command instanceof Command)) throw new Error("Commander passes the command last");
        const flags = command.optsWithGlobals<Flags & GlobalFlags>();
        if (flags["token"] !== undefined) throw usageError(tokenRule);
        exitCode = await action(
          new Session(terminal, flags),
          textsOf(command.processedArgs),
          flags,
        );
      },
  };
  registerLocal(registry, local);
  registerTasks(registry);
  registerQueues(registry);
  registerCluster(registry);
  tab(program, { completionCommandName: "completion" });
  try {
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return exitOfParser(error, terminal, argv);
    return new Output(terminal, isJson(argv)).failure(error);
  }
}

const tokenRule =
  "--token: a command line is no place for a secret; use --token-file or QUORUMQ_TOKEN";

function createRoot(terminal: Terminal, version: string): Command {
  return new Command("quorumq")
    .description(about)
    .version(version, "-v, --version", "print the version")
    .option("--http <url>", "base URL of the HTTP API; several with commas")
    .option("--grpc <address>", "host:port of the gRPC API; several with commas")
    .option("--token-file <path>", "file with the token, - for standard input")
    .option("--profile <name>", "addresses and token by name (see quorumq profile)")
    .option("--timeout <seconds>", "how long a server may take to answer (10)")
    .option("--json", "print JSON, errors too")
    .option("--no-color", "no colours, as with NO_COLOR")
    .addOption(new Option("--token [text]").hideHelp())
    .addHelpText("after", exits)
    .exitOverride()
    .showHelpAfterError()
    .configureHelp({ sortSubcommands: true, showGlobalOptions: false })
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      outputError: (text, write) => write(withoutValues(text)),
    });
}

/** A mistyped flag may hold a secret: its name is enough. */
function withoutValues(text: string): string {
  return text.replace(/(--?[A-Za-z][\w-]*)=[^'\s]*/gu, "$1=…");
}

function exitOfParser(error: CommanderError, terminal: Terminal, argv: readonly string[]): number {
  if (error.exitCode === 0) return cliExitCodes.ok;
  if (isJson(argv)) {
    const text = withoutValues(error.message).replace(/^error: /u, "");
    new Output(terminal, true).failure(new CliError(cliExitCodes.usage, "usage", text));
  }
  return cliExitCodes.usage;
}

/** Before the flags are parsed: what follows `--` is none. */
export function isJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return (end < 0 ? argv : argv.slice(0, end)).includes("--json");
}

/** Arguments as a flat list; absent ones are left out. */
function textsOf(args: readonly unknown[]): readonly string[] {
  return args.flat().filter((arg) => typeof arg === "string");
}
