/** Commands about nodes and the cluster. */
import { type MemberFlags, runLeaderTransfer, runMember } from "./commands/member.ts";
import { runStatus } from "./commands/status.ts";
import type { TopFlags } from "./commands/top.ts";
import type { Registry } from "./program.ts";

export function registerCluster({ program, act }: Registry): void {
  program
    .command("status")
    .description("print nodes, shards, leaders and lag; exit code 1 if something is wrong")
    .action(act((session) => runStatus(session)));
  program
    .command("top")
    .description("watch queues, rates, latencies and nodes")
    .option("-i, --interval <seconds>", "between two looks, 0.2..60 (1)")
    .option("-n, --count <n>", "end after so many looks")
    .option("--rows <n>", "queues to show, 1..1000 (20)")
    .addHelpText(
      "after",
      "\nOn a terminal a live view, q or Ctrl-C ends it; else, or with --json, one value a line.",
    )
    .action(
      act<TopFlags>(async (session, _args, flags) => {
        const { runTop } = await import("./commands/top.ts");
        return runTop(session, flags);
      }),
    );
  const member = program.command("member").description("the cluster's members (admin)");
  member
    .command("list")
    .description("print voters and learners")
    .action(act<MemberFlags>((session, args, flags) => runMember(session, "list", args, flags)));
  member
    .command("add <id>")
    .description("take a node in: a learner, then a voter as soon as their number is odd")
    .requiredOption("--raft <address>", "host:port of its node-to-node listener")
    .option("--public-http <url>", "what its HTTP clients call it")
    .option("--public-grpc <address>", "what its gRPC clients call it")
    .action(act<MemberFlags>((session, args, flags) => runMember(session, "add", args, flags)));
  member
    .command("remove <id>")
    .description("take a node out of all shards")
    .option("-y, --yes", "do it")
    .action(act<MemberFlags>((session, args, flags) => runMember(session, "remove", args, flags)));
  program
    .command("leader")
    .description("shards' leaders (admin)")
    .command("transfer")
    .description("have another node lead, without a stop")
    .option("--shard <n>", "this shard only")
    .option("--to <node>", "to this node; absent: any other")
    .action(act<MemberFlags>((session, _args, flags) => runLeaderTransfer(session, flags)));
}
