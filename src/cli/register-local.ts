/** What needs no server: running a node and looking after it, profiles. */
import { runProfile } from "./commands/profile.ts";
import type { Registry } from "./program.ts";

/** A command that belongs to the node: it reads its own flags, which are the configuration's. */
export interface LocalCommand {
  readonly name: string;
  readonly description: string;
  run(argv: readonly string[]): Promise<void> | void;
}

export function registerLocal({ program, act }: Registry, local: readonly LocalCommand[]): void {
  for (const command of local) {
    program
      .command(command.name)
      .description(command.description)
      .argument("[flags...]", `see quorumq ${command.name} --help`)
      .allowUnknownOption()
      .helpOption(false)
      .action(act((_session, args) => runLocal(command, args)));
  }
  const profile = program
    .command("profile")
    .description("names for a server's addresses and token")
    .addHelpText("after", profileExamples);
  profile
    .command("set <name>")
    .description("make or replace a profile out of --http, --grpc and a token")
    .option("--token-stdin", "keep the token itself, read from standard input")
    .action(act((session, args, flags) => runProfile(session, "set", args, flags)));
  for (const [name, description] of [
    ["use <name>", "use it where no other is named"],
    ["show <name>", "print it, the token masked"],
    ["remove <name>", "forget it"],
    ["list", "print all names"],
  ] as const) {
    const verb = name.split(" ")[0] as "use" | "show" | "remove" | "list";
    profile
      .command(name)
      .description(description)
      .action(act((session, args, flags) => runProfile(session, verb, args, flags)));
  }
}

const profileExamples = `
Examples:
  quorumq profile set prod --http https://queue.example.com --grpc queue.example.com:9092 \\
    --token-file /run/secrets/queue-token
  quorumq profile use prod
  QUORUMQ_PROFILE=prod quorumq queue list`;

async function runLocal(command: LocalCommand, args: readonly string[]): Promise<number> {
  await command.run(args);
  return Number(process.exitCode ?? 0);
}
