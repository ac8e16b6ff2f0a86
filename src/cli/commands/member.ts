/** `quorumq member` and `quorumq leader`: who belongs to the cluster, who leads. */
import type { Membership } from "../../client/http-cluster.ts";
import { parseCount } from "../connection.ts";
import { cliExitCodes, usageError } from "../exit-codes.ts";
import type { Session } from "../session.ts";

export interface MemberFlags {
  readonly raft?: string;
  readonly publicHttp?: string;
  readonly publicGrpc?: string;
  readonly yes?: boolean;
  readonly shard?: string;
  readonly to?: string;
}

/** A change waits until the new member has everything: longer than other calls. */
const changeMs = 600_000;

/** @returns the exit code */
export async function runMember(
  session: Session,
  verb: "list" | "add" | "remove",
  args: readonly string[],
  flags: MemberFlags,
): Promise<number> {
  const [id = ""] = args;
  if (verb === "remove" && flags.yes !== true) {
    throw usageError("remove takes the node out of the cluster; say --yes");
  }
  const http = await session.http();
  switch (verb) {
    case "list": {
      const { groups } = await http.raftStatus();
      const names = (field: "voters" | "learners") =>
        [...new Set(groups.flatMap((group) => group[field]))].sort();
      return tell(session, { voters: names("voters"), learners: names("learners") });
    }
    case "add": {
      const { raft = "", publicHttp, publicGrpc } = flags;
      const member = {
        id,
        raft,
        ...(publicHttp !== undefined && { http: publicHttp }),
        ...(publicGrpc !== undefined && { grpc: publicGrpc }),
      };
      return tell(session, await http.addMember(member, { timeoutMs: changeMs }));
    }
    case "remove":
      return tell(session, await http.removeMember(id, { timeoutMs: changeMs }));
  }
}

/** @returns the exit code */
export async function runLeaderTransfer(session: Session, flags: MemberFlags): Promise<number> {
  const { shard, to } = flags;
  const http = await session.http();
  const members = await http.transferLeader({
    ...(shard !== undefined && { shard: parseCount("--shard", shard, { least: 0, most: 255 }) }),
    ...(to !== undefined && { to }),
  });
  return tell(session, members);
}

function tell(session: Session, members: Membership): number {
  const { voters, learners } = members;
  session.output.answer({ voters, learners }, () =>
    session.output.fields([
      ["voters", voters.join(" ")],
      ["learners", learners.join(" ")],
    ]),
  );
  return cliExitCodes.ok;
}
