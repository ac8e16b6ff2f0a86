/**
 * Commands about tasks: enqueue, work, task, bench. Those that use streams load them when they run:
 * the others start 0.1 s earlier without.
 */
import type { BenchFlags } from "./commands/bench.ts";
import type { EnqueueFlags } from "./commands/enqueue.ts";
import { runTask, runTaskCleanup, runTaskList, type TaskFlags } from "./commands/task.ts";
import type { WorkFlags } from "./commands/work.ts";
import type { Registry } from "./program.ts";

export function registerTasks(registry: Registry): void {
  registerEnqueue(registry);
  registerWork(registry);
  registerTask(registry);
  registerBench(registry);
}

function registerEnqueue({ program, act }: Registry): void {
  program
    .command("enqueue")
    .description("create a task, or one for each line of a file")
    .argument("<queue>", "queue's name")
    .argument("[payload]", "JSON; absent: --file or standard input")
    .option("-f, --file <path>", "read the payload from a file, - for standard input")
    .option("-l, --lines", "one task per line")
    .option("-r, --raw", "keep the bytes as they are: text, or whatever it is")
    .option("--ids", "with --lines: print the ids")
    .option("-p, --priority <0..9>", "higher goes first (0)")
    .option("-d, --delay <seconds>", "ready after so long")
    .option("--run-at <time>", "ready at this time, RFC 3339; wins over --delay")
    .option("--max-attempts <n>", "deliveries before the dead letters, 1..1000")
    .option("-k, --key <text>", "idempotency key: the same key gives the same task")
    .option("--trace-parent <text>", "W3C trace context, handed on to the worker")
    .option("-w, --wait <seconds>", "wait for the result and print it")
    .addHelpText("after", enqueueExamples)
    .action(
      act<EnqueueFlags>(async (session, [queue = "", payload], flags) => {
        const { runEnqueue } = await import("./commands/enqueue.ts");
        return runEnqueue(session, { queue, payload }, flags);
      }),
    );
}

const enqueueExamples = `
Prints the id. With --wait: the result; exit code 1 if it failed, 75 if it has not ended.

Examples:
  quorumq enqueue mail '{"to": "a@b.c"}'
  quorumq enqueue mail --delay 60 --key order-7 --file mail.json
  jq -c '.[]' all.json | quorumq enqueue mail --lines
  quorumq enqueue resize --wait 30 '{"image": 7}'`;

function registerWork({ program, act }: Registry): void {
  program
    .command("work")
    .description("run a command for each task")
    .argument("[queues...]", "queues to take from; none = all that the token allows")
    .option("-e, --exec <command>", "run by /bin/sh, the payload on its standard input")
    .option("-c, --concurrency <n>", "commands at the same time, 1..2000 (1)")
    .option("--lease <seconds>", "length of a lease; it is renewed while the command runs (60)")
    .option("--time-limit <seconds>", "end a command that takes longer; the task is tried again")
    .option("--grace <seconds>", "after SIGTERM, how long commands may go on (30)")
    .option("-n, --tasks <n>", "end after so many tasks")
    .option("--idle <seconds>", "end after so long without a task")
    .option("--worker-id <text>", "how the server shows this worker")
    .option("--fail-code <n>", "exit code of a command that fails the task for good (100)")
    .option("--no-result", "standard output is not the result")
    .addHelpText("after", workExamples)
    .action(
      act<WorkFlags>(async (session, args, flags) => {
        const { runWork } = await import("./commands/work.ts");
        return runWork(session, args, flags);
      }),
    );
}

const workExamples = `
The command's exit code decides: 0 completes the task, with what it printed as the result; 100
fails it for good; any other one has it tried again, with the last line of its standard error as
the reason. It finds QUORUMQ_TASK_ID, _QUEUE, _ATTEMPT, _MAX_ATTEMPTS and _LEASE_TOKEN, and
TRACEPARENT, in its environment. Ctrl-C ends the commands and hands their tasks back.

Examples:
  quorumq work mail --exec './send-mail.sh' --concurrency 4
  quorumq work --exec 'jq .image | xargs convert' --time-limit 60 resize`;

function registerTask({ program, act }: Registry): void {
  const task = program.command("task").description("look at tasks, cancel them");
  task
    .command("get <id>")
    .description("print a task")
    .action(act<TaskFlags>((session, args) => runTask(session, "get", args)));
  task
    .command("result <id>")
    .description("print a task's result; exit code 1 if it failed, 75 if it has not ended")
    .option("-w, --wait <seconds>", "wait for it")
    .action(act<TaskFlags>((session, args, flags) => runTask(session, "result", args, flags)));
  task
    .command("cancel <id...>")
    .description("cancel tasks that have not ended")
    .action(act<TaskFlags>((session, args) => runTask(session, "cancel", args)));
  task
    .command("list")
    .description("print tasks, by id")
    .option("-q, --queue <name>", "of this queue only")
    .option("-s, --state <state>", "delayed, ready, leased, completed, failed, dead or canceled")
    .option("-n, --limit <n>", "so many at most (100)")
    .option("-a, --all", "without a limit")
    .action(act<TaskFlags>((session, _args, flags) => runTaskList(session, flags)));
  task
    .command("cleanup")
    .description("remove ended tasks whose retention is over (admin)")
    .option("--before <time>", "whose retention ends before this time, RFC 3339 (now)")
    .option("-n, --limit <n>", "so many at most (1000)")
    .option("-y, --yes", "do it: their results are gone")
    .action(act<TaskFlags>((session, _args, flags) => runTaskCleanup(session, flags)));
}

function registerBench({ program, act }: Registry): void {
  program
    .command("bench")
    .description("measure full cycles: create, claim, complete, each acknowledged")
    .option("--seconds <n>", "how long to measure (10)")
    .option("--warm-up <n>", "seconds before that (3)")
    .option("-b, --batch <n>", "tasks in a message, 1..256 (128)")
    .option("-s, --size <bytes>", "payload, 2..1048576 (14)")
    .option("--producers <n>", "streams that create, 1..64 (2)")
    .option("--workers <n>", "streams that work, 1..64 (2)")
    .addHelpText("after", benchNote)
    .action(
      act<BenchFlags>(async (session, _args, flags) => {
        const { runBench } = await import("./commands/bench.ts");
        return runBench(session, flags);
      }),
    );
}

const benchNote = `
Works on a queue of its own name and removes its tasks afterwards if the token is an admin's; else
they stay for their retention. The server does real work meanwhile: not for one that is in use.`;
