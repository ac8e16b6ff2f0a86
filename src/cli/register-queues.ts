/** Commands about queues. */
import { type QueueFlags, type QueueVerb, runQueue, runQueueList } from "./commands/queue.ts";
import type { Registry } from "./program.ts";

export function registerQueues({ program, act }: Registry): void {
  const queue = program
    .command("queue")
    .description("look at queues and act on them (admin)")
    .addHelpText("after", examples);
  queue
    .command("list")
    .description("print all queues with their depth and rates")
    .action(act<QueueFlags>((session) => runQueueList(session)));
  for (const [verb, description] of [
    ["show", "print one queue"],
    ["pause", "nothing is claimed from it until resume"],
    ["resume", "claims go on"],
  ] as const) {
    queue
      .command(`${verb} <name>`)
      .description(description)
      .action(act<QueueFlags>((session, args, flags) => runQueue(session, verb, args, flags)));
  }
  const withFilter = (verb: QueueVerb, description: string) =>
    queue
      .command(`${verb} <name>`)
      .description(description)
      .option("--id <id...>", "these tasks only")
      .option("-n, --limit <n>", "so many at most")
      .action(act<QueueFlags>((session, args, flags) => runQueue(session, verb, args, flags)));
  withFilter("redrive", "make dead tasks ready again, with all their attempts");
  withFilter("purge", "remove tasks and their results")
    .option("-s, --state <state...>", "those in these states")
    .option("-y, --yes", "do it: they are gone for good");
}

const examples = `
Examples:
  quorumq queue list
  quorumq queue redrive mail --limit 100
  quorumq queue purge mail --state dead failed --yes`;
